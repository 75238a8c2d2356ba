"""The words of an explanation in Kazakh, Russian and English: every one of them stands here.

What the law says is not here: it comes from config/regulation, in the words of the act.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from gateway.registry.explanation import ProofKind, Told
from gateway.registry.facts import PayerType
from gateway.registry.spans import Basis
from gateway.registry.tried import NOBODY_TOLD, STAY_NOT_TOLD, Change, Tried
from gateway.regulation.law import Category, CategoryList, Law, Residency


class Language(StrEnum):
    KK = "kk"
    RU = "ru"
    EN = "en"


#: kk, ru, en
_Three = tuple[str, str, str]
_ORDER: Final = (Language.KK, Language.RU, Language.EN)

LABELS: Final[Mapping[str, _Three]] = MappingProxyType(
    {
        "title": (
            "Тұтынушы мәртебесінің түсіндірмесі",
            "Объяснение статуса потребителя",
            "A consumer's standing explained",
        ),
        "insured": ("Сақтандырылған", "Застрахован", "Insured"),
        "not_insured": ("Сақтандырылмаған", "Не застрахован", "Not insured"),
        "unknown": (
            "Белгісіз: бұл адам туралы әлі ешкімнен сұралмаған, ол ешқандай тізімде жоқ. Бұл «жоқ» деген жауап емес.",
            "Неизвестно: об этом человеке ещё никого не спрашивали и ни в одном списке его нет. Это не ответ «нет».",
            "Not known: nobody was asked yet about this person and no list names one. This is not a no.",
        ),
        "ask": (
            "Тізілімдерден сұраңыз: gateway query",
            "Запросите регистры: gateway query",
            "Ask the registers: gateway query",
        ),
        "on_day": ("күні", "на дату", "on"),
        "known_at": ("белгілі болған сәт", "по сведениям на", "by what was known at"),
        "basis": ("Негіз", "Основание", "Basis"),
        "category": ("Санат", "Категория", "Category"),
        "budget": ("Төлеуші қаражат", "За чей счёт", "At whose cost"),
        "valid_until": (
            "Құқық қоса алғанда мына күнге дейін",
            "Право действует по (включительно)",
            "The right lasts through",
        ),
        "open": ("мерзімсіз", "бессрочно", "open"),
        "next_change": (
            "Жаңа дерек болмаса, жауап өзгеретін күн",
            "Без новых сведений ответ изменится",
            "With no news the answer changes on",
        ),
        "never": ("өзгермейді", "не изменится", "never"),
        "because": ("Неге", "Почему", "Why"),
        "changes": ("Жауапты не өзгертеді", "Что изменит ответ", "What would change the answer"),
        "rules": ("Тексерілген ережелер", "Проверенные правила", "The rules tried"),
        "rule": ("Ереже", "Правило", "Rule"),
        "paragraph": ("Тармақ", "Пункт", "Paragraph"),
        "result": ("Нәтиже", "Результат", "Result"),
        "facts": ("Дерек және хабар", "Факт и сообщение", "Fact and message"),
        "clauses": ("Актінің сөздері", "Слова акта", "The words of the act"),
        "gloss": (
            "Аударма заңды күшке ие емес",
            "Перевод пояснительный, решает казахский текст",
            "A gloss; the Kazakh text decides",
        ),
        "readings": ("Екіұшты жерлердің оқылуы", "Как прочитаны неясные места", "How ambiguous places are read"),
        "reported": ("жауап осыған негізделген", "на этом основан ответ", "the answer rests on this"),
        "signed_by": ("қол қойған", "подписал", "signed by"),
        "declared_by": ("жариялаған", "объявил", "declared by"),
        "serial": ("куәлік нөмірі", "номер сертификата", "certificate"),
        "arrived": ("келіп түсті", "поступило", "arrived"),
        "digest": ("файлдың BLAKE2b дайджесті", "дайджест файла BLAKE2b", "BLAKE2b digest of the file"),
        "by": ("дереккөз", "источник", "by"),
        "months_missing": ("жетіспейтін айлар", "не хватает месяцев", "months that are missing"),
        "only_a_receipt": ("тек төлем түсуі керек", "нужно только поступление платежа", "only a receipt is wanted"),
        "received": ("Қорға түсті", "поступил в Фонд", "received by the Fund"),
        "above": ("жоғарыда", "см. выше", "above"),
    }
)

BASES: Final[Mapping[Basis, _Three]] = MappingProxyType(
    {
        Basis.REPUBLICAN_CATEGORY: (
            "республикалық бюджет төлейтін санат",
            "категория, за которую платит республиканский бюджет",
            "a category that the republican budget pays for",
        ),
        Basis.LOCAL_CATEGORY: (
            "жергілікті бюджет төлейтін санат",
            "категория, за которую платит местный бюджет",
            "a category that the local budget pays for",
        ),
        Basis.MILITARY_EXEMPT: (
            "жарна төлеуден босатылған (қызмет)",
            "освобождён от взносов (служба)",
            "exempt from contributions (service)",
        ),
        Basis.PAYER: ("аударымдар мен жарналар", "отчисления и взносы", "deductions and contributions paid"),
        Basis.PAYER_14_2_9: (
            "Заңның 14-бабы 2-тармағының 9) тармақшасы бойынша төлем",
            "платёж по подпункту 9) пункта 2 статьи 14 Закона",
            "a payment under article 14 paragraph 2 item 9 of the Law",
        ),
        Basis.TREATY_LIST: ("халықаралық шарт тізімі", "список по международному договору", "the treaty list"),
        Basis.PROVISIONAL: ("уақытша енгізу", "временное внесение", "provisional entry"),
        Basis.RETENTION_STATE: (
            "санаттан кейін сақталған құқық",
            "право, сохранённое после категории",
            "the right kept after a category",
        ),
        Basis.RETENTION_PAYER: (
            "төлемнен кейін сақталған құқық",
            "право, сохранённое после уплаты",
            "the right kept after payment stopped",
        ),
        Basis.FAILURE_HOLD: (
            "техникалық ақау кезінде сақталған мәртебе",
            "статус, сохранённый на время сбоя",
            "the status preserved during a technical failure",
        ),
        Basis.NONE: ("негіз жоқ", "основания нет", "no basis"),
    }
)

BUDGETS: Final[Mapping[str, _Three]] = MappingProxyType(
    {
        "republican": ("республикалық бюджет", "республиканский бюджет", "the republican budget"),
        "local": ("жергілікті бюджет", "местный бюджет", "the local budget"),
        "payer": ("төлеуші", "плательщик", "the payer"),
        "exempt": ("жарна төленбейді", "взносы не уплачиваются", "no contributions are due"),
    }
)

#: what a line of the decision table asks; the gates by their rule
RULES: Final[Mapping[str, _Three]] = MappingProxyType(
    {
        "G R-07": ("Адам тірі ме?", "Жив ли человек?", "Is the person alive?"),
        "G R-29": (
            "Уақытша болатын шетелдік шарт тізімінде ме?",
            "Временно пребывающий иностранец — в списке по договору?",
            "If a foreigner stays temporarily: on the treaty list?",
        ),
        "1": (
            "Республикалық бюджет санаты",
            "Категория республиканского бюджета",
            "A category of the republican budget",
        ),
        "2": ("Жергілікті бюджет санаты", "Категория местного бюджета", "A category of the local budget"),
        "3": ("Қызмет бойынша босату", "Освобождение по службе", "Exemption by service"),
        "4": ("Он екі айдың төлемі", "Уплата за двенадцать месяцев", "Payment for twelve months"),
        "5": ("14(2)(9) төлеушісі", "Плательщик по 14(2)(9)", "A payer of article 14(2)(9)"),
        "6": ("Уақытша енгізу", "Временное внесение", "Provisional entry"),
        "7": ("Санаттан кейін үш ай", "Три месяца после категории", "Three months after a category"),
        "8": (
            "Төлемнен кейін үш немесе алты ай",
            "Три или шесть месяцев после уплаты",
            "Three or six months after payment",
        ),
        "9": ("Техникалық ақау", "Технический сбой", "A technical failure"),
        "-": ("Шарт тізімінің өзі негіз ретінде", "Сам список по договору как основание", "The treaty list as a basis"),
    }
)

OUTCOMES: Final[Mapping[Tried, _Three]] = MappingProxyType(
    {
        Tried.HOLDS: ("қолданылады", "действует", "holds"),
        Tried.PASSED: ("кедергі жоқ", "не препятствует", "no obstacle"),
        Tried.ENDED: ("аяқталған", "закончилось", "has ended"),
        Tried.NOT_YET: ("әлі басталмаған", "ещё не началось", "has not begun"),
        Tried.KEPT_OUT: ("басқа ереже кедергі", "не допущено другим правилом", "kept out by another rule"),
        Tried.IGNORED: ("ескерілмейді", "не учитывается", "is left out"),
        Tried.REFUSED: ("қабылданбаған", "отказано", "was refused"),
        Tried.NO_FACTS: ("дерек жоқ", "нет сведений", "no facts"),
    }
)
#: a gate that holds does not give a right: it keeps the person out
GATE_HOLDS: Final[_Three] = ("құқыққа жол бермейді", "не допускает к праву", "keeps the person out")

REASONS: Final[Mapping[str, _Three]] = MappingProxyType(
    {
        NOBODY_TOLD: (
            "тұрғындығы туралы ешкім хабарламаған, азамат деп болжанады",
            "о статусе жителя никто не сообщил, предполагается гражданин",
            "nobody told who the person is; a citizen is assumed",
        ),
        STAY_NOT_TOLD: (
            "шетелдіктің қанша уақытқа келгені хабарланбаған, тұрақты тұрады деп болжанады",
            "на какой срок пребывает иностранец, не сообщено, предполагается постоянное проживание",
            "for how long the foreigner stays was not told; for good is assumed",
        ),
        "residency_excluded": (
            "бұл санат мұндай тұрғынға берілмейді",
            "категория не даётся такому жителю",
            "the category is not for such a resident",
        ),
        "no_document_defined": (
            "бұл санатқа құжат көзделмеген",
            "для этой категории документ не предусмотрен",
            "the Rules name no document for this category",
        ),
        "data_present": ("деректер бар", "данные уже есть", "there are data already"),
        "documents_incomplete": ("құжаттар толық емес", "документы неполные", "the documents are not complete"),
        "applied_before": ("бұрын енгізілген", "уже вносился", "was entered before"),
    }
)

CHANGES: Final[Mapping[Change, _Three]] = MappingProxyType(
    {
        Change.ENDS: ("құқық өздігінен аяқталады", "право закончится само", "it ends by itself"),
        Change.BEGINS: ("өздігінен басталады", "начнётся само", "it begins by itself"),
        Change.CATEGORY_ASSIGNED: (
            "дереккөз санат берсе",
            "если источник присвоит категорию",
            "if a source gives a category",
        ),
        Change.REMOVAL_ARRIVES: (
            "санаттан шығару туралы мәлімет келсе",
            "если поступят сведения об исключении из категории",
            "if information on a removal from the category arrives",
        ),
        Change.STATE_STOPS_PAYING: (
            "мемлекет жарна төлеуді тоқтатса",
            "если государство прекратит платить",
            "if the state stops paying",
        ),
        Change.STATE_PAYS_AGAIN: (
            "мемлекет қайта төлей бастаса",
            "если государство снова начнёт платить",
            "if the state pays again",
        ),
        Change.SUBMISSION_WITH_PERSON: (
            "уәкілетті орган адамды тізімде берсе",
            "если уполномоченный орган подаст человека в списке",
            "if a body submits the person on its list",
        ),
        Change.SUBMISSION_WITHOUT_PERSON: (
            "орган келесі жолы адамсыз тізім берсе",
            "если орган в следующий раз подаст список без человека",
            "if that body next submits without the person",
        ),
        Change.MONTHS_PAID: ("айлар төленсе", "если будут оплачены месяцы", "if the months are paid"),
        Change.PAYMENT_ARRIVES: ("төлем түссе", "если поступит платёж", "if a payment arrives"),
        Change.APPLICATION_WITH_DOCUMENTS: (
            "адам құжаттармен Қорға жүгінсе",
            "если человек обратится в Фонд с документами",
            "if the person applies to the Fund with the documents",
        ),
        Change.FAILURE_DECLARED: (
            "техникалық ақау жарияланса",
            "если будет объявлен технический сбой",
            "if a technical failure is declared",
        ),
        Change.SYSTEM_FIXED: ("жүйе түзетілсе", "когда система будет исправлена", "when the system is put right"),
        Change.PUT_ON_LIST: (
            "шарт тізіміне енгізілсе",
            "если внесут в список по договору",
            "if put on the treaty list",
        ),
        Change.TAKEN_OFF_LIST: (
            "шарт тізімінен шығарылса",
            "если исключат из списка по договору",
            "if taken off the treaty list",
        ),
        Change.RESIDENCY_TOLD: (
            "тізілім немесе тізім адамның шетелдік екенін хабарласа",
            "если регистр или список сообщит, что это иностранец",
            "if a register or a list tells of a foreigner",
        ),
        Change.RESIDENCY_CHANGES: (
            "тұруға рұқсаттың мерзімі басталады не аяқталады",
            "начнётся или закончится разрешение на проживание",
            "a permit to stay begins or ends",
        ),
        Change.DEATH_RECORD_ARRIVES: (
            "қайтыс болу туралы жазба келсе",
            "если поступит запись о смерти",
            "if a record of death arrives",
        ),
        Change.DEATH_RECORD_ANNULLED: (
            "қайтыс болу туралы жазба жойылса",
            "если запись о смерти аннулируют",
            "if the record of death is annulled",
        ),
    }
)

TOLD: Final[Mapping[Told, _Three]] = MappingProxyType(
    {
        Told.CATEGORY_ASSIGNED: ("санат берілді", "категория присвоена", "category given"),
        Told.CATEGORY_REMOVED: ("санаттан шығарылды", "исключён из категории", "removed from the category"),
        Told.DIED: ("қайтыс болды", "умер", "died"),
        Told.PAID: ("төленген ай", "оплачен месяц", "paid for the month"),
        Told.APPLIED: ("Қорға жүгінді", "обратился в Фонд", "applied to the Fund"),
        Told.SERVICE: ("орган тізімі", "список органа", "a body's submission"),
        Told.ON_TREATY_LIST: ("шарт тізіміне енді", "внесён в список по договору", "put on the treaty list"),
        Told.OFF_TREATY_LIST: ("шарт тізімінен шықты", "исключён из списка по договору", "taken off the treaty list"),
        Told.STATE_STOPPED_PAYING: (
            "мемлекет төлеуді тоқтатты",
            "государство прекратило платить",
            "the state stopped paying",
        ),
        Told.STATE_PAID_AGAIN: ("мемлекет қайта төледі", "государство снова платит", "the state paid again"),
        Told.RESIDENCY: ("тұрғындығы хабарланды", "сообщён статус жителя", "told who the person is"),
        Told.SYSTEM_FAILED: ("жүйе істен шықты", "сбой системы", "the system failed"),
        Told.SYSTEM_FIXED: ("жүйе түзетілді", "система исправлена", "the system was put right"),
    }
)

#: p.15 has no field for it: a list that says nothing of the payer is read as of a general one (A-40)
PAYERS: Final[Mapping[PayerType, _Three]] = MappingProxyType(
    {
        PayerType.GENERAL: (
            "төлеуші жалпы (тізім өзгеше айтпаса, солай оқылады, A-40)",
            "плательщик общий (так читается, если список не говорит иного, A-40)",
            "a general payer (so read unless the list says otherwise, A-40)",
        ),
        PayerType.ART14_2_9: (
            "тізім бойынша Заңның 14-бабы 2-тармағы 9) тармақшасының төлеушісі",
            "по списку — плательщик подпункта 9) пункта 2 статьи 14 Закона",
            "by the list a payer of article 14 paragraph 2 item 9 of the Law",
        ),
    }
)

RESIDENCIES: Final[Mapping[Residency, _Three]] = MappingProxyType(
    {
        Residency.CITIZEN: ("азамат", "гражданин", "a citizen"),
        Residency.KANDAS: ("қандас", "кандас", "a kandas"),
        Residency.PERMANENT_FOREIGNER: (
            "тұрақты тұратын шетелдік",
            "постоянно проживающий иностранец",
            "a foreigner residing permanently",
        ),
        Residency.PERMANENT_STATELESS: (
            "тұрақты тұратын азаматтығы жоқ адам",
            "постоянно проживающее лицо без гражданства",
            "a stateless person residing permanently",
        ),
        Residency.TEMP_FOREIGNER: (
            "уақытша болатын шетелдік",
            "временно пребывающий иностранец",
            "a foreigner staying temporarily",
        ),
        Residency.TEMP_STATELESS: (
            "уақытша болатын азаматтығы жоқ адам",
            "временно пребывающее лицо без гражданства",
            "a stateless person staying temporarily",
        ),
    }
)

PROOFS: Final[Mapping[ProofKind, _Three]] = MappingProxyType(
    {
        ProofKind.ANSWER: (
            "тізілімнің қол қойылған жауабы",
            "подписанный ответ регистра",
            "a register's signed answer",
        ),
        ProofKind.LIST: ("қабылданған тізім", "принятый список", "a list taken in"),
        ProofKind.APPLICATION: ("өтініш", "обращение", "an application"),
        ProofKind.DECLARATION: ("жариялау", "объявление", "a declaration"),
    }
)


def in_language(three: _Three, language: Language) -> str:
    return three[_ORDER.index(language)]


def label(name: str, language: Language) -> str:
    return in_language(LABELS[name], language)


def category_name(category: Category, law: Law, language: Language) -> str:
    """As the act calls it, or as its gloss does."""
    if language is Language.KK or category.list not in (CategoryList.REPUBLICAN, CategoryList.LOCAL):
        # the clauses of the others are whole sentences, and name no category in a few words
        return category.kk
    clause = law.clause(category.cites[0])
    return (clause.ru if language is Language.RU else clause.en).rstrip(";.")


def shown_day(day: dt.date, language: Language) -> str:
    return day.isoformat() if language is Language.EN else f"{day:%d.%m.%Y}"


def shown_days(first: dt.date | None, last: dt.date | None, language: Language) -> str:
    """A run of days, both inclusive; "" where there is none."""
    if first is None:
        return ""
    end = label("open", language) if last is None else shown_day(last, language)
    return f"{shown_day(first, language)} – {end}"
