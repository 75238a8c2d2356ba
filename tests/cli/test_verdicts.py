from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import gateway
from gateway import errors
from gateway.cli.verdicts import BY_STEP, GROUPS, LANGUAGES, SENTENCES, sentence_for
from gateway.signing import steps
from gateway.trust.throwaway_pki import ThrowawayPki
from tests.cli.conftest import Run

ROOT = Path(gateway.__file__).parent
#: the codes of lifetimes are findings of `gateway pki check` and no verdicts
FILES = [
    *sorted((ROOT / "signing").rglob("*.py")),
    *sorted(path for path in (ROOT / "trust").rglob("*.py") if path.name != "lifetimes.py"),
    ROOT / "xml.py",
]

#: errors that take their code first; the others take `code=`
CODE_FIRST = ("SignatureRefused", "TrustRefused")
#: codes that are put together, and what they can become
PUT_TOGETHER = {"{}_mismatch": {"iin_mismatch", "bin_mismatch"}, "payload_{}": set()}


# ---------------------------------------------------------------- every code has a sentence


def name_of(called: ast.expr) -> str:
    return called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""


def is_super_of(node: ast.Call, bases: frozenset[str]) -> bool:
    """`super().__init__(…)` in a class under one of the errors that take their code first."""
    return bool(bases & set(CODE_FIRST)) and ast.unparse(node.func) == "super().__init__"


def is_text_in_code(node: ast.Assign) -> bool:
    """`code = "…"`, of a class or of a function; a CRL's reason is a number and also called so."""
    values = [node.value.body, node.value.orelse] if isinstance(node.value, ast.IfExp) else [node.value]
    is_text = all(isinstance(value, ast.Constant) and isinstance(value.value, str) for value in values)
    return is_text and [name_of(target) for target in node.targets] == ["code"]


class Module:
    """The codes that one module gives to errors, through functions of its own that hand a code on too."""

    def __init__(self, source: str) -> None:
        self.tree = ast.parse(source)
        self.constants = {
            target.id: node.value
            for node in self.tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        #: function → at which place it takes a code, and the code that it takes when none is given
        self.hands_on: dict[str, tuple[int, ast.expr | None]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef):
                names = [argument.arg for argument in node.args.args]
                if "code" in names:
                    place, defaults = names.index("code"), node.args.defaults
                    missing = place - (len(names) - len(defaults))
                    self.hands_on[node.name] = (place, defaults[missing] if missing >= 0 else None)

    def given(self) -> Iterator[ast.expr]:
        """Every expression that becomes the code of an error."""
        for _, default in self.hands_on.values():
            if default is not None:
                yield default
        yield from self._below(self.tree, frozenset())

    def _below(self, node: ast.AST, bases: frozenset[str]) -> Iterator[ast.expr]:
        if isinstance(node, ast.ClassDef):
            bases = frozenset(name_of(base) for base in node.bases)
        elif isinstance(node, ast.Assign) and is_text_in_code(node):
            yield node.value
        elif isinstance(node, ast.Call):
            yield from (keyword.value for keyword in node.keywords if keyword.arg == "code")
            name = name_of(node.func)
            place = 0 if name in CODE_FIRST or is_super_of(node, bases) else self.hands_on.get(name, (-1, None))[0]
            if 0 <= place < len(node.args):
                yield node.args[place]
        for child in ast.iter_child_nodes(node):
            yield from self._below(child, bases)

    def codes(self) -> Iterator[str]:
        for expression in self.given():
            yield from self._literals(expression)

    def _literals(self, expression: ast.expr) -> Iterator[str]:
        match expression:
            case ast.Constant(value=str(code)):
                yield code
            case ast.IfExp():
                yield from self._literals(expression.body)
                yield from self._literals(expression.orelse)
            case ast.Name(id=name) if name in self.constants:
                yield from self._literals(self.constants[name])
            case ast.JoinedStr(values=values):
                pattern = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in values)
                yield from PUT_TOGETHER[pattern]
            case ast.Name(id="code") | ast.Attribute(attr="code"):
                return  # handed on from where it was given
            case _:
                raise AssertionError(f"line {expression.lineno}: a code that this test cannot read")


def codes_in_use() -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for file in FILES:
        for code in Module(file.read_text(encoding="utf-8")).codes():
            found.setdefault(code, set()).add(str(file.relative_to(ROOT)))
    return found


IN_USE = codes_in_use()
#: what `gateway verify` says of an evidence file before it comes to the message inside
OF_EVIDENCE_FILES = {
    code
    for code in Module((ROOT / "exchange" / "journal" / "evidence_file.py").read_text(encoding="utf-8")).codes()
    if "evidence" in code
}
#: what an error says whose maker gives no code
OF_THEMSELVES = {errors.MalformedMessage.code, errors.RevocationUnknown.code, errors.KeyMaterialError.code}


def test_the_search_finds_codes_in_every_way_that_they_are_given() -> None:
    ways = {
        "ok": "a value with a code",
        "not_xml": "code=",
        "unsigned": "first argument",
        "revoked": "super().__init__",
        "signed_info": "default of a function that hands it on",
        "reference_shape": "argument of such a function",
        "issuer_name": "constant",
        "bad_certificate_key": "one of two",
        "bin_mismatch": "put together",
    }
    assert ways.keys() <= IN_USE.keys()


def test_every_code_has_its_sentence() -> None:
    without = {code: sorted(files) for code, files in IN_USE.items() if code not in SENTENCES}
    assert without == {}
    assert SENTENCES.keys() >= OF_THEMSELVES | OF_EVIDENCE_FILES


def test_every_sentence_is_that_of_a_code_in_use() -> None:
    assert SENTENCES.keys() - IN_USE.keys() - OF_THEMSELVES - OF_EVIDENCE_FILES == set()


def test_a_code_belongs_to_one_group() -> None:
    assert sum(len(group.codes) for group in GROUPS) == len(SENTENCES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_group_says_something_else_in_one_sentence(language: str) -> None:
    sentences = [group.sentence.as_dict()[language] for group in GROUPS]
    assert len(set(sentences)) == len(sentences)
    for sentence in (*sentences, *(fallback.as_dict()[language] for fallback in BY_STEP.values())):
        assert sentence.endswith(".")
        assert sentence[0].isupper()
        assert len(sentence) <= 100


# ---------------------------------------------------------------- a code without a sentence


def test_a_new_code_gets_the_sentence_of_its_step() -> None:
    assert sentence_for("brand_new", "path").ru == "Сертификат подписавшего не принят."
    assert sentence_for("brand_new", "digest").kk == "Қолтаңба қабылданбады."
    assert sentence_for("brand_new", "nowhere") == sentence_for("brand_new", None)
    assert sentence_for("expired", "digest") == SENTENCES["expired"]


def test_a_business_signature_is_refused_in_the_same_words() -> None:
    assert sentence_for("payload_digest", "payload_signature") == SENTENCES["digest"]
    assert sentence_for("payload_unsigned", "payload_signature") != SENTENCES["unsigned"]
    assert sentence_for("payload_brand_new", "payload_signature").ru == "Подпись не принята."


def test_every_step_has_a_sentence() -> None:
    named = {value for name, value in vars(steps).items() if name.isupper() and isinstance(value, str)}
    for file in (ROOT / "trust").glob("*.py"):
        for name, value in Module(file.read_text(encoding="utf-8")).constants.items():
            if name.endswith("_STEP") and isinstance(value, ast.Constant) and isinstance(value.value, str):
                named.add(value.value)
    assert named <= BY_STEP.keys()


# ---------------------------------------------------------------- the command


@pytest.fixture
def signed(run: Run, pki: ThrowawayPki, tmp_path: Path) -> Path:
    document, result = tmp_path / "document.xml", tmp_path / "signed.xml"
    document.write_text("<a><b>1</b></a>")
    key = ("--key", pki.key("client"), "--certificate", pki.certificate("client"))
    assert run("sign", document, "--profile", "enveloped", *key, "-o", result).code == 0
    return result


def test_explain_gives_the_verdict_in_kazakh_and_russian(run: Run, pki: ThrowawayPki, signed: Path) -> None:
    trusted = ("--trust", pki.anchors, "--explain")
    assert run("verify", signed, *trusted).stdout.splitlines()[1:3] == [
        "  kk Қолтаңба дұрыс, қол қоюшы сенімді.",
        "  ru Подпись верна, подписавшему можно доверять.",
    ]
    signed.write_bytes(signed.read_bytes().replace(b">1<", b">2<"))
    assert run("verify", signed, *trusted, "--json").document["verdict"] == {
        "kk": "Құжат қол қойылғаннан кейін өзгертілген.",
        "ru": "Документ изменён после подписания.",
    }


def test_without_explain_there_is_no_sentence(run: Run, pki: ThrowawayPki, signed: Path) -> None:
    assert "verdict" not in run("verify", signed, "--trust", pki.anchors, "--json").document
    assert "  kk " not in run("verify", signed, "--trust", pki.anchors).stdout


def test_an_undecided_verdict_is_said_too(run: Run, pki: ThrowawayPki, signed: Path, tmp_path: Path) -> None:
    trust = tmp_path / "trust"
    trust.mkdir()
    for name in ("root.pem", "issuing.pem"):
        shutil.copy(pki.anchors / name, trust)
    ran = run("verify", signed, "--trust", trust, "--explain", "--json")
    assert (ran.code, ran.document["valid"]) == (3, None)
    assert ran.document["verdict"]["ru"].startswith("Неизвестно, не отозван ли")
