"""What a verdict of `gateway verify` means, in one sentence of Kazakh and of Russian.

Codes of one meaning share a sentence. A code that has none gets the sentence of the step that failed: a new code is
never without words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gateway.signing import business, steps
from gateway.trust import timestamp, verdict

LANGUAGES: Final = ("kk", "ru")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One meaning in both languages."""

    kk: str
    ru: str

    def as_dict(self) -> dict[str, str]:
        return {"kk": self.kk, "ru": self.ru}


@dataclass(frozen=True, slots=True)
class Group:
    """The codes that mean the same to a person."""

    sentence: Sentence
    codes: frozenset[str]


def _group(kk: str, ru: str, codes: str) -> Group:
    return Group(Sentence(kk, ru), frozenset(codes.split()))


_TIMESTAMP: Final = Sentence("Уақыт белгісі жарамсыз.", "Метка времени недействительна.")

GROUPS: Final = (
    _group("Қолтаңба дұрыс, қол қоюшы сенімді.", "Подпись верна, подписавшему можно доверять.", "ok"),
    # ---------------------------------------------------------------- the document
    _group(
        "Құжат тым үлкен немесе тым күрделі.",
        "Документ слишком велик или слишком сложен.",
        "too_large too_many_elements too_many_attributes too_deep canonical_too_large",
    ),
    _group("Құжатта DOCTYPE бар, ол қабылданбайды.", "В документе есть DOCTYPE, он не принимается.", "doctype"),
    _group(
        "Құжат қабылданатын пішімде емес.",
        "Документ не в том формате, который принимается.",
        "malformed not_xml encoding not_an_envelope not_a_leaf repeated not_canonical not_isolated ambiguous_prefix"
        " xml_attribute",
    ),
    _group("Дәлел файлы өзгертілген.", "Файл доказательства изменён.", "evidence_damaged"),
    _group("Бұл дәлел файлы емес.", "Это не файл доказательства.", "bad_evidence_file"),
    # ---------------------------------------------------------------- the signature
    _group("Құжатқа қол қойылмаған.", "Документ не подписан.", "unsigned"),
    _group("Жіберілген деректерге қол қойылмаған.", "Переданные данные не подписаны.", "payload_unsigned"),
    _group(
        "Құжат қол қойылғаннан кейін өзгертілген.",
        "Документ изменён после подписания.",
        "digest",
    ),
    _group(
        "Қолтаңба расталмады: ол өзгертілген немесе басқа кілтпен жасалған.",
        "Подпись не подтвердилась: она изменена или сделана другим ключом.",
        "signature_value",
    ),
    _group(
        "Қолтаңба оқылатын мазмұнға қатысты емес: мазмұн ауыстырылған болуы мүмкін.",
        "Подписано не то содержимое, которое читается: его могли подменить.",
        "not_the_body not_the_document duplicate_id",
    ),
    _group(
        "Хабарламаның құрылымы, қолтаңбаның орны немесе саны талапқа сай емес.",
        "Строение сообщения, место или число подписей не такие, как требуется.",
        "structure signature_place signature_count reference_count object_refused",
    ),
    _group(
        "Қолтаңба қате құрастырылған, сондықтан оқылмайды.",
        "Подпись составлена неправильно и потому не читается.",
        "signature_shape signed_info reference_shape reference_type reference_uri algorithm_parameters bad_base64"
        " key_info_shape serial_number issuer_name",
    ),
    _group(
        "Қолтаңбаның алгоритмі қабылданбайды.",
        "Алгоритм подписи не принимается.",
        "algorithm_refused algorithm_not_supported canonicalization_refused transform_refused family_mismatch"
        " key_not_supported",
    ),
    _group(
        "Куәліктегі кілттің ұзындығы қабылданбайды.",
        "Длина ключа в сертификате не принимается.",
        "key_size weak_key",
    ),
    _group(
        "Қолтаңба қол қоюшының куәлігіндегі кілтке сәйкес келмейді.",
        "Подпись не подходит к ключу из сертификата подписавшего.",
        "key_mismatch",
    ),
    _group(
        "Қол қоюшының куәлігі көрсетілмеген немесе бірмәнді анықталмайды.",
        "Сертификат подписавшего не указан или определяется неоднозначно.",
        "no_certificate key_info_unsupported ambiguous_certificate certificate_mismatch",
    ),
    _group(
        "Қол қоюшының куәлігі бізде жоқ: оны сенімді куәліктер қалтасына салыңыз.",
        "Сертификата подписавшего у нас нет: положите его в папку доверенных.",
        "certificate_unknown",
    ),
    # ---------------------------------------------------------------- the signer
    _group(
        "Куәлік зақымдалған немесе қате құрастырылған.",
        "Сертификат повреждён или составлен неправильно.",
        "bad_certificate bad_certificate_key bad_public_key bad_pem algorithm_mismatch",
    ),
    _group(
        "Куәлікті берген орталыққа біз сенім артпаймыз.",
        "Сертификат выдан центром, которому мы не доверяем.",
        "untrusted_issuer",
    ),
    _group(
        "Куәліктегі орталықтың қолтаңбасы расталмады.",
        "Подпись центра на сертификате не подтвердилась.",
        "bad_certificate_signature",
    ),
    _group(
        "Куәліктер тізбегі ережелерге сай емес.",
        "Цепочка сертификатов нарушает правила.",
        "path_too_long not_a_ca issuer_key_usage name_constraints unknown_critical_extension",
    ),
    _group("Куәліктің мерзімі өтіп кеткен.", "Срок действия сертификата истёк.", "expired"),
    _group("Куәліктің мерзімі әлі басталмаған.", "Срок действия сертификата ещё не начался.", "not_yet_valid"),
    _group(
        "Бұл куәлік хабарламаларға қол қоюға арналмаған.",
        "Этот сертификат не предназначен для подписания сообщений.",
        "ca_as_signer key_usage extended_key_usage",
    ),
    _group(
        "Мұндай куәлікпен бұл жерде қол қоюға болмайды.",
        "Таким сертификатом здесь подписывать нельзя.",
        "role_not_allowed policy_not_allowed",
    ),
    _group(
        "Куәліктегі ЖСН немесе БСН күтілгенге сәйкес келмейді.",
        "ИИН или БИН в сертификате не тот, который ожидается.",
        "iin_mismatch bin_mismatch",
    ),
    # ---------------------------------------------------------------- revocation and time stamps
    _group("Куәлік кері қайтарып алынған.", "Сертификат отозван.", "revoked"),
    _group(
        "Куәліктің кері қайтарып алынған-алынбағаны белгісіз, сондықтан қолтаңбаға сенуге болмайды.",
        "Неизвестно, не отозван ли сертификат, поэтому полагаться на подпись нельзя.",
        "revocation_unknown",
    ),
    _group(
        "Куәліктердің кері қайтарып алынуы туралы мәлімет алынбады немесе оқылмайды.",
        "Сведения об отзыве сертификатов не получены или не читаются.",
        "fetch_failed bad_crl bad_ocsp_response",
    ),
    _group(
        _TIMESTAMP.kk,
        _TIMESTAMP.ru,
        "bad_timestamp timestamp_rejected imprint_mismatch nonce_mismatch policy_not_accepted from_the_future"
        " signer_certificate bad_signature",
    ),
    # ---------------------------------------------------------------- our own means
    _group(
        "Біздің құрал қолтаңбаны тексере алмады: `gateway doctor` орындаңыз.",
        "Наше средство не смогло проверить подпись: выполните `gateway doctor`.",
        "engine_failed engine_unavailable",
    ),
    _group(
        "Біздің кілтпен қол қою мүмкін емес: `gateway doctor` орындаңыз.",
        "Нашим ключом подписать нельзя: выполните `gateway doctor`.",
        "key_material key_file key_file_damaged key_password bad_private_key certificate_missing variable_time"
        " token_failed token_library token_missing token_uri",
    ),
)

#: code → its sentence
SENTENCES: Final[Mapping[str, Sentence]] = MappingProxyType(
    {code: group.sentence for group in GROUPS for code in group.codes}
)

_DOCUMENT: Final = Sentence("Құжат қабылданбады.", "Документ не принят.")
_SIGNATURE: Final = Sentence("Қолтаңба қабылданбады.", "Подпись не принята.")
_SIGNER: Final = Sentence("Қол қоюшының куәлігі қабылданбады.", "Сертификат подписавшего не принят.")

#: step that failed → the sentence for a code without its own
BY_STEP: Final[Mapping[str, Sentence]] = MappingProxyType(
    {
        **dict.fromkeys((steps.BOUNDS, steps.STRUCTURE), _DOCUMENT),
        **dict.fromkeys(
            (
                steps.SIGNATURE_PLACE,
                steps.SIGNED_INFO,
                steps.ALGORITHMS,
                steps.REFERENCE,
                steps.IDS,
                steps.KEY_INFO,
                steps.SIGNATURE_VALUE,
                steps.DIGEST,
                business.STEP,
            ),
            _SIGNATURE,
        ),
        **dict.fromkeys((steps.CERTIFICATE, verdict.PATH_STEP, verdict.PURPOSE_STEP, verdict.SIGNER_STEP), _SIGNER),
        verdict.REVOCATION_STEP: Sentence(
            "Куәліктің кері қайтарып алынуын тексеру нәтиже бермеді.", "Проверка отзыва сертификата не дала ответа."
        ),
        timestamp.TIMESTAMP_STEP: _TIMESTAMP,
    }
)

#: of a code of the business signature inside the payload, which is refused for the same reasons
_PAYLOAD: Final = "payload_"


def sentence_for(code: str, step: str | None) -> Sentence:
    """The sentence for a verdict's code; where it has none, for the step that failed."""
    own = SENTENCES.get(code) or SENTENCES.get(code.removeprefix(_PAYLOAD))
    return own or BY_STEP.get(step or "", _DOCUMENT)
