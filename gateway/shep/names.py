"""Names that stand on the wire: namespaces, wrappers and the misspelt words that are the true ones (SHEP.md 1 and 2).

SHEP's own fields have no namespace and no constant here: they are written once, where they are built and read.
"""

from __future__ import annotations

from typing import Final

SOAP_11: Final = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP_12: Final = "http://www.w3.org/2003/05/soap-envelope"
WSDL: Final = "http://schemas.xmlsoap.org/wsdl/"
WSDL_SOAP: Final = "http://schemas.xmlsoap.org/wsdl/soap/"
XSD: Final = "http://www.w3.org/2001/XMLSchema"
XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
DS: Final = "http://www.w3.org/2000/09/xmldsig#"
WSSE: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
WSU: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"

SYNC_TYPES: Final = "http://bip.bee.kz/SyncChannel/v10/Types"
SYNC_INTERFACES: Final = "http://bip.bee.kz/SyncChannel/v10/Interfaces"
ASYNC_TYPES: Final = "http://bip.bee.kz/AsyncChannel/v10/Types"
ASYNC_CLIENT_TYPES: Final = "http://bip.bee.kz/AsyncChannel/v10/Types/Client"
TEMPORARY_STORAGE: Final = "http://egov.bee.kz/eds/tempstorage/v2/"

ENVELOPE: Final = f"{{{SOAP_11}}}Envelope"
HEADER: Final = f"{{{SOAP_11}}}Header"
BODY: Final = f"{{{SOAP_11}}}Body"
FAULT: Final = f"{{{SOAP_11}}}Fault"
XSI_TYPE: Final = f"{{{XSI}}}type"

SEND_MESSAGE: Final = f"{{{SYNC_TYPES}}}SendMessage"
SEND_MESSAGE_RESPONSE: Final = f"{{{SYNC_TYPES}}}SendMessageResponse"
SEND_MESSAGE_FAULT: Final = f"{{{SYNC_TYPES}}}SendMessageFault1_SendMessageFault"
