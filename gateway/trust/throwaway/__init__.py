"""How the throw-away PKI is minted: keys, names, certificates, lists, containers. gateway.trust.throwaway_pki puts it
together; the sandbox answers for it."""
