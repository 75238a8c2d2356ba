"""Names for invented people: Kazakh, Russian and a few from abroad, in Cyrillic with all Kazakh letters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.model import Sex
from gateway.sandbox.dice import Dice


@dataclass(frozen=True, slots=True)
class Naming:
    """How one tradition names people. `patronymics` maps a father's name to (son's, daughter's) form."""

    #: (man's form, woman's form)
    surnames: tuple[tuple[str, str], ...]
    male: tuple[str, ...]
    female: tuple[str, ...]
    patronymics: dict[str, tuple[str, str]]

    def surname(self, dice: Dice) -> tuple[str, str]:
        return dice.pick(self.surnames)

    def given(self, dice: Dice, sex: Sex) -> str:
        return dice.pick(self.male if sex is Sex.MALE else self.female)

    def patronymic(self, father_name: str, sex: Sex) -> str:
        """What a child of this father is called; "" where the tradition has none."""
        forms = self.patronymics.get(father_name)
        if forms is None:
            return ""
        return forms[0] if sex is Sex.MALE else forms[1]


def _pairs(*stems: str) -> tuple[tuple[str, str], ...]:
    """Surnames whose women's form only adds an а."""
    return tuple((stem, f"{stem}а") for stem in stems)


_KAZAKH_MEN: Final = (
    "Айдар", "Алмас", "Асқар", "Бауыржан", "Берік", "Болат", "Дәурен", "Ерлан", "Жандос", "Жәнібек",
    "Қайрат", "Қанат", "Марат", "Мұрат", "Нұрлан", "Олжас", "Өркен", "Санжар", "Серік", "Тимур",
    "Ұлан", "Шыңғыс", "Ілияс", "Ғалым", "Аңсар", "Ерғали",
)  # fmt: skip

KAZAKH: Final = Naming(
    surnames=_pairs(
        "Ақбұлақов", "Алтынтасов", "Балқарағаев", "Бесқайнаров", "Дәндібаев", "Егінсаев", "Жаңаөзенов", "Жолтаев",
        "Көктөбеев", "Қаратомаров", "Қызылсаев", "Мұнартаев", "Найзатасов", "Ойтоғаев", "Өрікбаев", "Сарыжайлаев",
        "Тасбұлақов", "Теректаев", "Үшқұдықов", "Шалқартаев", "Ырғызаев", "Ілетаев", "Ғарышбаев", "Һәкімтаев",
    ),
    male=_KAZAKH_MEN,
    female=(
        "Айгүл", "Айсұлу", "Алтынай", "Арайлым", "Әйгерім", "Әсел", "Ботагөз", "Гүлнұр", "Дана", "Динара",
        "Еңлік", "Жанар", "Жұлдыз", "Зәуре", "Қарлығаш", "Мадина", "Меруерт", "Назгүл", "Перизат", "Сәуле",
        "Толқын", "Ұлжан", "Үміт", "Шолпан", "Іңкәр",
    ),
    patronymics={name: (f"{name}ұлы", f"{name}қызы") for name in _KAZAKH_MEN},
)  # fmt: skip

RUSSIAN: Final = Naming(
    surnames=_pairs(
        "Берегов", "Ветлугин", "Громошумов", "Дубравин", "Ерошкин", "Заречнев", "Кедрин", "Ледоставов", "Медунов",
        "Новолесов", "Озеркин", "Перелесков", "Росин", "Снегирев", "Травин", "Ясенев",
    ),
    male=(
        "Алексей", "Андрей", "Борис", "Виктор", "Дмитрий", "Егор",
        "Иван", "Максим", "Николай", "Олег", "Пётр", "Юрий",
    ),
    female=(
        "Алла", "Вера", "Галина", "Дарья", "Елена", "Инна",
        "Ксения", "Людмила", "Марина", "Ольга", "София", "Юлия",
    ),
    patronymics={
        "Алексей": ("Алексеевич", "Алексеевна"), "Андрей": ("Андреевич", "Андреевна"),
        "Борис": ("Борисович", "Борисовна"), "Виктор": ("Викторович", "Викторовна"),
        "Дмитрий": ("Дмитриевич", "Дмитриевна"), "Егор": ("Егорович", "Егоровна"),
        "Иван": ("Иванович", "Ивановна"), "Максим": ("Максимович", "Максимовна"),
        "Николай": ("Николаевич", "Николаевна"), "Олег": ("Олегович", "Олеговна"),
        "Пётр": ("Петрович", "Петровна"), "Юрий": ("Юрьевич", "Юрьевна"),
    },
)  # fmt: skip

FOREIGN: Final = Naming(
    surnames=tuple((name, name) for name in ("Мюлленталь", "Чинаройлу", "Ферранотти", "Ольденау")),
    male=("Ханс", "Эмре", "Марко", "Джон"),
    female=("Анна", "Айше", "Лючия", "Мэри"),
    patronymics={},
)  # fmt: skip


def draw_naming(dice: Dice) -> Naming:
    """The tradition of one family."""
    return KAZAKH if dice.percent(75) else RUSSIAN
