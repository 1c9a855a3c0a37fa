from blocks.domain.models import Reject
from blocks.domain.text import printable


def test_text_that_can_be_printed_stays_as_it_is() -> None:
    assert printable("0000-0001, 23.5 °C 温度") == "0000-0001, 23.5 °C 温度"


def test_control_characters_and_line_breaks_are_spelled_out() -> None:
    assert printable("a\tb\r\n\x1b[31m\x00") == r"a\tb\r\n\x1b[31m\x00"


def test_a_refused_row_with_a_nul_can_be_a_parameter_of_a_run_although_postgresql_stores_none() -> None:
    assert "\\u0000" not in Reject(line=1, reason="encoding", text="0000\x000001").model_dump_json()
