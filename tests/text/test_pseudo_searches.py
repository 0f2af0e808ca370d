from tfrec.text.pseudo_searches import make_pseudo_searches

TITLE = "Red desk lamp with a dimmer and a long cable"


def test_a_search_is_one_to_three_words_behind_one_another():
    searches = make_pseudo_searches([TITLE] * 200, seed=0)
    lengths = {len(search.split()) for search in searches}
    assert lengths == {1, 2, 3}
    assert all(f" {search} " in f" {TITLE} " for search in searches)
    assert len(set(searches)) > 20  # From everywhere in the title.


def test_of_scripts_without_spaces_some_characters_are_taken():
    searches = make_pseudo_searches(["红色台灯护眼学习"] * 200, seed=0)
    assert {len(search) for search in searches} == {2, 3, 4}
    assert all(search in "红色台灯护眼学习" for search in searches)


def test_no_words_no_search():
    assert make_pseudo_searches(["", "   ", "lamp"], seed=0) == ["", "", "lamp"]


def test_the_same_seed_gives_the_same_searches():
    one, again = (make_pseudo_searches([TITLE] * 9, seed=3) for _ in range(2))
    assert one == again
    assert make_pseudo_searches([TITLE] * 9, seed=4) != one
