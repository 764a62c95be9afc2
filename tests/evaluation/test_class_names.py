import pytest

from compressor.data.dataset import Dataset
from compressor.errors import DatasetError, Diagnostic
from compressor.evaluation.class_names import check_classes

SHAPES = ("circle", "square", "triangle", "star")
MANY = tuple(f"kind {letter}" for letter in "abcdefghijklmnopqrstuvwxyz")


def data(*names: str) -> Dataset:
    return Dataset("shapes.yaml", {}, names, None)


def refused(names: tuple[str, ...], dataset: Dataset, *, other_names: bool = False) -> Diagnostic:
    with pytest.raises(DatasetError) as caught:
        check_classes(names, dataset, other_names=other_names)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.path) == ("D409", "shapes.yaml")
    return diagnostic


@pytest.mark.parametrize(("names", "theirs"), [(("caf\u00e9",), ("Cafe\u0301",)), (("J\u030c",), ("\u01f0",))])
def test_the_unicode_form_of_accents_makes_no_difference(names: tuple[str, ...], theirs: tuple[str, ...]) -> None:
    assert names != theirs
    assert check_classes(names, data(*theirs)) == check_classes(theirs, data(*names)) == ()


@pytest.mark.parametrize("names", [SHAPES, ("Circle", "SQUARE", "tri angle", " star ")])
def test_case_and_blanks_make_no_difference(names: tuple[str, ...]) -> None:
    assert check_classes(names, data(*SHAPES)) == ()


def test_another_number_of_classes_is_refused_with_both_lists() -> None:
    diagnostic = refused(("a", "b", "c"), data("apple", "pear"), other_names=True)
    assert diagnostic.message == "the model has 3 classes (a, b, c), the data set 2 (apple, pear)"


@pytest.mark.parametrize("other_names", [False, True])
def test_the_same_names_in_another_order_are_never_accepted(other_names: bool) -> None:
    diagnostic = refused(SHAPES, data("square", "Circle", "triangle", "star"), other_names=other_names)
    assert diagnostic.message == (
        "the classes are in another order: the model has circle, square, triangle, star; "
        "the data set has square, Circle, triangle, star"
    )


@pytest.mark.parametrize("theirs", [("disc", "circle", "triangle", "star"), ("square", "box", "triangle", "star")])
def test_a_class_under_another_number_is_another_order_too(theirs: tuple[str, ...]) -> None:
    assert "another order" in refused(SHAPES, data(*theirs), other_names=True).message
    assert "another order" in refused(theirs, data(*SHAPES), other_names=True).message


def test_of_many_classes_those_that_differ_are_shown_with_their_numbers() -> None:
    swapped = (*MANY[:23], MANY[24], MANY[23], MANY[25])
    assert refused(MANY, data(*swapped)).message.endswith(
        "the model has 23 kind x, 24 kind y; the data set has 23 kind y, 24 kind x"
    )
    others = tuple(f"sort {name}" for name in MANY)
    assert refused(MANY, data(*others)).message.endswith(" 19 sort kind t and 6 more")


def test_other_names_are_shown_and_have_to_be_accepted() -> None:
    theirs = data("disc", "box", "triangle", "star")
    expected = (
        "2 of 4 classes have other names{}: the model has circle, square, triangle, star; "
        "the data set has disc, box, triangle, star"
    )
    diagnostic = refused(SHAPES, theirs)
    assert diagnostic.message == expected.format("") and "--other-names, evaluation.other_names: true" in str(
        diagnostic.help
    )
    assert check_classes(SHAPES, theirs, other_names=True) == (expected.format(", which was accepted"),)


@pytest.mark.parametrize(
    "numbers",
    [("0", "1", "2", "3"), ("class0", "class1", "class2", "class3"), ("Class 00", "Class 01", "Class 02", "Class 03")],
)
def test_names_that_only_number_the_classes_fit_any(numbers: tuple[str, ...]) -> None:
    first = ", ".join(numbers)
    assert check_classes(numbers, data(*SHAPES)) == (
        f"the model does not name its classes ({first}): they are taken by their number",
    )
    assert check_classes(SHAPES, data(*numbers)) == (
        f"the data set does not name its classes ({first}): they are taken by their number",
    )


def test_digits_that_are_names_have_an_order() -> None:
    assert check_classes(("0", "1", "2"), data("0", "1", "2")) == ()
    assert "another order" in refused(("0", "1", "2"), data("1", "2", "0")).message
    assert "other names" in refused(("1", "2", "3"), data("one", "two", "three")).message
