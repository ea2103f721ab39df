#!/usr/bin/python3
"""Cron expressions in every zone of tzdata, 2020 to 2040, compared with a walk over all minutes.

The walk asks Python's zoneinfo what clocks show, and knows nothing of how cron.cc finds its way.
argv[1] is the program cron-occurrences. Without --all, a zone is walked around its changes of offset,
in the years drawn for it, and a few ordinary weeks; with --all, all its minutes are (an hour of a core).
"""

import argparse
import datetime
import pathlib
import random
import subprocess
import sys
import zoneinfo

ZONES = pathlib.Path("/usr/share/zoneinfo")
UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1)
FIRST, LAST = 2020, 2040
DAY = 1440
STEP = 15  # minutes; within so many, an offset does not change twice
# The greatest gap that a time can be shifted over, and how far from UTC clocks are.
REACH = 2 * DAY

# (expression, does it keep its pace: fire in both passes of a fold and in no gap)
EXPRESSIONS = (
    ("0 * * * *", True),
    ("*/20 * * * *", True),
    ("7,52 */2 * * *", True),
    ("30 0-23 * * *", True),
    ("15 1-5/2 * * *", True),
    ("45 * * * MON-FRI", True),
    ("10 0,* 1-7 * *", True),
    ("30 2 * * *", False),
    ("0,15,30,45 0-4 * * *", False),
    ("@daily", False),
    ("59 23 * * *", False),
    ("5 3 * * SUN", False),
    ("0 0,1,2,3,22,23 * * 7", False),
    ("40 1 1,15 * 5", False),
    ("20 2 29 2 *", False),
    ("* 2 25-31 3,10 0", False),
    ("1-59/29 22,23 * APR-Oct Sat,sun", False),
    ("0 1 */2 * */3", False),
)


def values_of(text, low, high, names=()):
    """The values a field stands for, told apart from cron.cc by plain enumeration."""
    def number(word):
        return low + names.index(word.upper()) if word.upper() in names else int(word)

    values = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        start, _, end = span.partition("-")
        start, end = (low, high) if span == "*" else (number(start), number(end or start))
        values |= set(range(start, end + 1, int(step or 1)))
    return values


MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
WEEKDAYS = "SUN MON TUE WED THU FRI SAT".split()


class Oracle:
    """Which expressions match what clocks show: one bit an expression."""

    def __init__(self):
        self.minutes = [0] * DAY
        self.pace = sum(1 << i for i, (_, pace) in enumerate(EXPRESSIONS) if pace)
        self.days = {}
        self.day_fields = []
        for i, (text, _) in enumerate(EXPRESSIONS):
            text = "0 0 * * *" if text == "@daily" else text
            minute, hour, day, month, weekday = text.split()
            for h in values_of(hour, 0, 23):
                for m in values_of(minute, 0, 59):
                    self.minutes[60 * h + m] |= 1 << i
            both = day.startswith("*") or weekday.startswith("*")
            self.day_fields.append((
                values_of(day, 1, 31), values_of(month, 1, 12, MONTHS),
                {value % 7 for value in values_of(weekday, 0, 6, WEEKDAYS)}, both))

    def day(self, number):
        """The expressions that suit the date `number` days after 1970-01-01."""
        if number not in self.days:
            date = (EPOCH + datetime.timedelta(days=number)).date()
            bits = 0
            for i, (days, months, weekdays, both) in enumerate(self.day_fields):
                suits = (date.day in days, date.isoweekday() % 7 in weekdays)
                if date.month in months and (all(suits) if both else any(suits)):
                    bits |= 1 << i
            self.days[number] = bits
        return self.days[number]

    def matches(self, civil):
        """`civil`: what clocks show, in minutes since 1970-01-01 as they show it."""
        bits = self.minutes[civil % DAY]
        return bits & self.day(civil // DAY) if bits else 0


def utc_offset(zone, minute):
    """The offset, in minutes, at an instant in minutes since 1970."""
    offset = datetime.datetime.fromtimestamp(60 * minute, zone).utcoffset()
    return offset // datetime.timedelta(minutes=1)


def readings(zone, civil):
    """The first and the second instant at which clocks show `civil`; the same if there is one. In a
    gap, the one shifted forwards, and the one shifted backwards."""
    local = EPOCH + datetime.timedelta(minutes=civil)
    return [(local.replace(tzinfo=zone, fold=fold).astimezone(UTC).replace(tzinfo=None) - EPOCH)
            // datetime.timedelta(minutes=1) for fold in (0, 1)]


def letter_of(zone, civil):
    """How a clock time is resolved: unique, shifted or ambiguous."""
    first, second = readings(zone, civil)
    if first == second:
        return "u"
    return "a" if first + utc_offset(zone, first) == civil else "s"


class Walk:
    """A walk over all minutes from begin to end: for each expression {instant: letter}."""

    def __init__(self, oracle, zone, begin, end):
        self.oracle, self.zone, self.begin, self.end = oracle, zone, begin, end
        self.found = [{} for _ in EXPRESSIONS]
        # Steps in which the offset changes. Around them every minute is looked up in the zone, and
        # the rules part; elsewhere clocks run evenly.
        changes = [start for start in range(begin - REACH, end + REACH, STEP)
                   if utc_offset(zone, start) != utc_offset(zone, start + STEP)]
        around = {minute for change in changes for minute in
                  range(change - DAY, change + STEP + DAY, STEP) if begin <= minute < end}
        for start in range(begin, end, STEP):
            if start in around:
                self.by_instant(start)
            else:
                self.evenly(start)
        for change in changes:
            self.by_clock_time(change, around)

    def note(self, bits, instant, letter):
        while bits:
            found = self.found[(bits & -bits).bit_length() - 1]
            bits &= bits - 1
            # An ordinary match and a shifted one at the same instant are one.
            if found.get(instant, "s") == "s":
                found[instant] = letter

    def evenly(self, start):
        offset = utc_offset(self.zone, start)
        for instant in range(start, start + STEP):
            bits = self.oracle.matches(instant + offset)
            if bits:
                self.note(bits, instant, "u")

    def by_instant(self, start):
        """What keeps its pace happens whenever clocks show it."""
        for instant in range(start, start + STEP):
            civil = instant + utc_offset(self.zone, instant)
            bits = self.oracle.matches(civil) & self.oracle.pace
            if bits:
                self.note(bits, instant, letter_of(self.zone, civil))

    def by_clock_time(self, change, around):
        """The others happen once for each time that the calendar has, shown or not."""
        middle = change + utc_offset(self.zone, change)
        for civil in range(middle - REACH, middle + REACH):
            bits = self.oracle.matches(civil) & ~self.oracle.pace
            if bits:
                instant = readings(self.zone, civil)[0]
                if instant - instant % STEP in around:
                    self.note(bits, instant, letter_of(self.zone, civil))


def minute_of(year, month=1, day=1):
    return (datetime.datetime(year, month, day) - EPOCH) // datetime.timedelta(minutes=1)


def changes_of(zone):
    """Days in which the offset changes, as their first minute. No offset comes back within a week."""
    days = []
    for week in range(minute_of(FIRST), minute_of(LAST + 1), 7 * DAY):
        if utc_offset(zone, week) != utc_offset(zone, week + 7 * DAY):
            days += [day for day in range(week, week + 7 * DAY, DAY)
                     if utc_offset(zone, day) != utc_offset(zone, day + DAY)]
    return days


def windows_of(zone, draw, everything):
    """[(begin, end)] to be walked."""
    if everything:
        return [(minute_of(FIRST), minute_of(LAST + 1))]
    changes = changes_of(zone)
    chosen = draw.sample(changes, min(2, len(changes)))
    ordinary = [draw.randrange(minute_of(FIRST), minute_of(LAST), DAY)]
    return [(day - DAY, day + 3 * DAY) for day in chosen + ordinary]


def all_zones():
    """Names of all zones, without those that are another one's copy."""
    seen = {}
    for name in sorted(zoneinfo.available_timezones()):
        if name != "localtime" and (ZONES / name).is_file():
            seen.setdefault((ZONES / name).read_bytes(), name)
    return sorted(seen.values())


class Program:
    """The program under test, asked line by line."""

    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)

    def ask(self, zone, begin, end, expression):
        self.process.stdin.write(f"{zone} {60 * begin} {60 * end} {expression}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if answer[:1] == ["error"] or answer[-2:-1] == ["counted:"]:
            sys.exit(f"{zone}: {expression}: {' '.join(answer)}")
        return [(int(word[:-1]), word[-1]) for word in answer]

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


def show(occurrence):
    minute, letter = occurrence
    return f"{EPOCH + datetime.timedelta(minutes=minute)}Z {letter}"


def compare(name, expression, wanted, got):
    """True if they are the same; says where they are not."""
    if got == sorted(wanted.items()) and len(got) == len(wanted):
        return True
    missing, extra = sorted(set(wanted.items()) - set(got)), sorted(set(got) - set(wanted.items()))
    print(f"{name}: {expression}: missing {[show(one) for one in missing[:5]]}, "
          f"extra {[show(one) for one in extra[:5]]}, of {len(wanted)}")
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    arguments = parser.parse_args()
    print(f"--seed {arguments.seed}")
    draw = random.Random(arguments.seed)
    oracle, program, zones = Oracle(), Program(arguments.program), all_zones()
    compared, letters, wrong = 0, {"u": 0, "s": 0, "a": 0}, 0
    for name in zones:
        zone = zoneinfo.ZoneInfo(name)
        for begin, end in windows_of(zone, draw, arguments.all):
            found = Walk(oracle, zone, begin, end).found
            for (expression, _), wanted in zip(EXPRESSIONS, found):
                wrong += not compare(name, expression, wanted,
                                     program.ask(name, begin, end, expression))
                compared += len(wanted)
                for letter in wanted.values():
                    letters[letter] += 1
        if arguments.all:
            print(name, compared, flush=True)
    failed = program.close()
    print(f"{len(zones)} zones, {compared} occurrences, {letters}, {wrong} differences")
    # A walk that saw no gap and no fold has proved nothing.
    return 0 if not wrong and not failed and all(letters.values()) and len(zones) > 300 else 1


if __name__ == "__main__":
    sys.exit(main())
