"""The rules of events, in their order."""

from __future__ import annotations

from typing import Final

from segops.studio.event_signs import (
    any_of_it,
    included,
    negated,
    not_since,
    not_then,
    not_those,
    number_of,
    only_so_often,
    other,
    since_before,
    since_event,
    timeless,
    value_instead,
    which,
)
from segops.studio.event_times import on_days, windowed
from segops.studio.events import (
    about_text,
    counted,
    having,
    numbered,
    property,
    property_too,
    valued,
    valued_before,
)
from segops.studio.items import Rule

#: The rules of events, in their order.
EVENTS: Final = (
    Rule("NUMOF E", number_of),
    Rule("(FIRST|LAST) E", which),
    Rule("E (FIRST|LAST)", which),
    Rule("ONLY E Q", only_so_often),
    Rule("Q E", counted),
    Rule("E Q O", counted),
    Rule("E WITH? Q P", property),
    Rule("E WITH? P Q", property),
    Rule("E WITH FN Q", property_too),
    Rule("E AND WITH? P Q", property),
    Rule("E AND WITH Q P", property),
    Rule("E Q", numbered),
    Rule("E COMMA Q", counted),
    Rule("E WITH? V", valued),
    Rule("V E", valued_before),
    Rule("E (NEG|OTHER|EXCEPT) V", valued),
    Rule("E (WITH|WITHOUT) P", having),
    Rule("E NEG P", having),
    Rule("E (LIT|UNK)", about_text),
    Rule("E (P|O|G)", value_instead),
    Rule("E (O|P)", included),
    Rule("(NEG|WITHOUT) WITH? E", negated),
    Rule("E NEG", negated),
    Rule("A FILE", included),
    Rule("E ALREADY", timeless),
    Rule("ALREADY E", timeless),
    Rule("E TOD", on_days),
    Rule("TOD E", on_days),
    Rule("(E|A) W", windowed),
    Rule("(E|A) COMMA W", windowed),
    Rule("A WITH? V", valued),
    Rule("E (THEN|ALREADY)? COMMA? (EXCEPT|BUT NEG|AND NEG) W", not_then),
    Rule("E COMMA? (EXCEPT|BUT NEG|AND NEG) SINCE", not_since),
    Rule("E COMMA P", any_of_it),
    Rule("E COMMA? (BUT|AND) (NEG|OTHER) V", not_those),
    Rule("E EXCEPT V", not_those),
    Rule("E SINCE E", since_event),
    Rule("E COMMA? (AND|BUT) E SINCE", since_before),
    Rule("(O|P) E", included),
    Rule("E AND NEG OTHER (P|E)", other),
    Rule("E AND NEG OTHER", other),
)
