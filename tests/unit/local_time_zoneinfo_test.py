#!/usr/bin/python3
"""Local times around every change of offset, in every zone of tzdata, 2020 to 2040, as zoneinfo reads them.

argv[1] is the program local-times.
"""

import datetime
import subprocess
import sys
import zoneinfo

from cron_zoneinfo_test import DAY, EPOCH, UTC, all_zones, changes_of

# Minutes of the days around a change that are asked about; each a second before, too.
STEP = 30
# Days at whose change every minute is asked about: all changes of these zones.
CLOSE = {"Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Gaza"}


def expected(zone, local):
    """(first, second, letter) as the program says them; in a gap both are shifted by its size."""
    first, second = ((local.replace(tzinfo=zone, fold=fold).astimezone(UTC).replace(tzinfo=None)
                      - EPOCH) // datetime.timedelta(seconds=1) for fold in (0, 1))
    if first == second:
        return first, first, "u"
    shown = datetime.datetime.fromtimestamp(first, zone).replace(tzinfo=None)
    return (first, second, "a") if shown == local else (first, first, "s")


def times_of(name, zone):
    step = 1 if name in CLOSE else STEP
    for day in changes_of(zone):
        for minute in range(day - DAY // 2, day + DAY + DAY // 2, step):
            local = EPOCH + datetime.timedelta(minutes=minute)
            yield local - datetime.timedelta(seconds=1)
            yield local


def main():
    program = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    zones, compared, wrong, letters = all_zones(), 0, 0, dict.fromkeys("usa", 0)
    for name in zones:
        zone = zoneinfo.ZoneInfo(name)
        times = list(times_of(name, zone)) or [EPOCH + datetime.timedelta(days=20_000)]
        print(name, *(local.isoformat() for local in times), file=program.stdin, flush=True)
        answers = program.stdout.readline().split()
        assert len(answers) == len(times), name
        for local, answer in zip(times, answers):
            wanted = expected(zone, local)
            letters[wanted[2]] += 1
            if answer != f"{wanted[0]},{wanted[1]},{wanted[2]}":
                wrong += 1
                if wrong < 20:
                    print(f"{name}: {local}: {answer} for {wanted}")
        compared += len(times)
    program.stdin.close()
    failed = program.wait()
    print(f"{len(zones)} zones, {compared} local times, {letters}, {wrong} differences")
    return 0 if not wrong and not failed and all(letters.values()) and len(zones) > 300 else 1


if __name__ == "__main__":
    sys.exit(main())
