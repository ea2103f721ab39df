"""Local times: every change of offset of three unusual zones, compared with Python's zoneinfo."""

import datetime
import unittest
import zoneinfo

import harness

UTC = datetime.timezone.utc
SECOND = datetime.timedelta(seconds=1)
ZONES = {
    "Australia/Lord_Howe": datetime.timedelta(minutes=30),  # half an hour of summer time
    "Pacific/Chatham": datetime.timedelta(hours=1),  # changes at 02:45
    "Antarctica/Troll": datetime.timedelta(hours=2),  # two hours of summer time
}
YEARS = (*range(2027, 2032), 2045)  # 2045 lies beyond the tables of the zone files
UNIQUE, SHIFTED, AMBIGUOUS = 1, 2, 3


def changes_of_offset(zone, year):
    """(instant, jump) of every change of offset in a year, found by looking at each hour."""
    def offset(instant):
        return instant.astimezone(zone).utcoffset()

    instant, hour = datetime.datetime(year, 1, 1, tzinfo=UTC), datetime.timedelta(hours=1)
    while instant.year == year:
        if offset(instant) != offset(instant + hour):
            before, after = instant, instant + hour
            while after - before > SECOND:
                middle = before + (after - before) // 2
                middle = middle.replace(microsecond=0)
                before, after = (middle, after) if offset(middle) == offset(before) else (
                    before, middle)
            yield after, offset(after) - offset(before)
        instant += hour


def local_times_around(zone, instant, jump):
    """What clocks show before, at the edges of, inside and after a gap or a fold."""
    first = (instant - SECOND).astimezone(zone).replace(tzinfo=None, fold=0) + SECOND
    start, end = min(first, first + jump), max(first, first + jump)
    microsecond = datetime.timedelta(microseconds=1)
    return (start - datetime.timedelta(days=1), start - SECOND, start - microsecond, start,
            start + microsecond, start + (end - start) / 2, end - SECOND, end - microsecond, end,
            end + SECOND, end + datetime.timedelta(hours=3))


def expected(zone, local):
    """(how it is resolved, the first instant, the second one) as zoneinfo sees it."""
    first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return UNIQUE, first, first
    if first.astimezone(zone).replace(tzinfo=None, fold=0) == local:
        return AMBIGUOUS, first, second
    return SHIFTED, first, first  # fold=0: with the offset from before the gap


def microseconds(instant):
    return (instant - datetime.datetime(1970, 1, 1, tzinfo=UTC)) // datetime.timedelta(
        microseconds=1)


class LocalTimeTest(harness.SystemTest):
    runs = ("schedulerd",)

    def create(self, local, zone, **policies):
        text = local if isinstance(local, str) else local.isoformat()
        return self.tasks.CreateTask(queue="local", name="task", local_time={
            "date_time": text, "time_zone": zone, **policies})

    def check(self, name, local, counts):
        resolution, first, second = expected(zoneinfo.ZoneInfo(name), local)
        for policies, instant in (({}, first),
                                  ({"fold_policy": "FOLD_POLICY_FIRST",
                                    "gap_policy": "GAP_POLICY_SHIFT"}, first),
                                  ({"fold_policy": "FOLD_POLICY_SECOND"}, second)):
            task = self.create(local, name, **policies)
            self.assertEqual((task.local_time_resolution, task.run_time.ToMicroseconds()),
                             (resolution, microseconds(instant)), f"{policies}")
            self.assertEqual((task.local_time.date_time, task.local_time.time_zone),
                             (local.isoformat(), name))
        rejecting = {"gap_policy": "GAP_POLICY_REJECT", "fold_policy": "FOLD_POLICY_REJECT"}
        if resolution == UNIQUE:
            self.create(local, name, **rejecting)
        else:
            with self.assert_error("INVALID_ARGUMENT", field="local_time.date_time"):
                self.create(local, name, **rejecting)
        counts[resolution] += 1

    def check_zone(self, name):
        zone, size = zoneinfo.ZoneInfo(name), ZONES[name]
        counts, gaps, folds = {UNIQUE: 0, SHIFTED: 0, AMBIGUOUS: 0}, 0, 0
        for year in YEARS:
            for instant, jump in changes_of_offset(zone, year):
                self.assertEqual(abs(jump), size)
                gaps, folds = gaps + (jump > jump * 0), folds + (jump < jump * 0)
                for local in local_times_around(zone, instant, jump):
                    with self.subTest(zone=name, local=local.isoformat()):
                        self.check(name, local, counts)
        self.assertEqual((gaps, folds), (len(YEARS), len(YEARS)))
        # Five of the eleven lie in the gap or fold: start to end - 1 us.
        self.assertEqual(counts, {UNIQUE: 12 * len(YEARS), SHIFTED: 5 * len(YEARS),
                                  AMBIGUOUS: 5 * len(YEARS)})

    def test_lord_howe(self):
        self.check_zone("Australia/Lord_Howe")

    def test_chatham(self):
        self.check_zone("Pacific/Chatham")

    def test_troll(self):
        self.check_zone("Antarctica/Troll")

    def test_one_policy_does_not_stand_for_the_other(self):
        in_gap, in_fold = "2027-03-28T02:30:00", "2027-10-31T02:30:00"
        self.assertEqual(self.create(in_gap, "Europe/Berlin", fold_policy="FOLD_POLICY_REJECT")
                         .local_time_resolution, SHIFTED)
        self.assertEqual(self.create(in_fold, "Europe/Berlin", gap_policy="GAP_POLICY_REJECT")
                         .local_time_resolution, AMBIGUOUS)

    def test_an_empty_zone_is_the_servers(self):
        expecting = {"Pacific/Chatham": datetime.timedelta(hours=12, minutes=45),
                     "Antarctica/Troll": datetime.timedelta(hours=2)}
        by_environment = self.start("schedulerd", env={"TZ": "Pacific/Chatham"})
        by_flag = self.start("schedulerd", "--time-zone", "Antarctica/Troll",
                             env={"TZ": "Pacific/Chatham"})
        for service, zone in ((by_environment, "Pacific/Chatham"), (by_flag, "Antarctica/Troll")):
            task = service.tasks.CreateTask(queue="local", name="task",
                                            local_time={"date_time": "2027-06-01T12:00:00"})
            noon = datetime.datetime(2027, 6, 1, 12, tzinfo=UTC)
            self.assertEqual(task.local_time.time_zone, zone)
            self.assertEqual(task.run_time.ToMicroseconds(), microseconds(noon - expecting[zone]))

    def test_a_server_does_not_start_in_an_unknown_zone(self):
        done = harness.run_binary("schedulerd", "--time-zone", "Mars/Phobos", "--listen",
                                  "127.0.0.1:0", url=self.database.url, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("time-zone", done.stderr)

    def test_what_is_no_local_time_is_refused(self):
        for text in ("", "now", "2027-02-29T00:00:00", "2027-13-01T00:00:00", "2027-00-01T00:00:00",
                     "2027-06-31T00:00:00", "2027-06-01T24:00:00", "2027-06-01T23:60:00",
                     "2027-06-01T23:59:60", "2027-06-01 12:00:00", "2027-06-01T12:00",
                     "2027-06-01", "2027-6-1T12:00:00", "2027-06-01T12:00:00Z",
                     "2027-06-01T12:00:00+02:00", "2027-06-01T12:00:00.1234567",
                     "2027-06-01T12:00:00.", "2027-06-01T12:00:00,5", " 2027-06-01T12:00:00",
                     "2027-06-01T12:00:00 ", "+2027-06-01T12:00:00", "-027-06-01T12:00:00",
                     "2027-06-01t12:00:00", "20270601T120000", "\u0662027-06-01T12:00:00"):
            with self.subTest(text), self.assert_error("INVALID_ARGUMENT",
                                                       field="local_time.date_time"):
                self.create(text, "UTC")

    def test_what_is_no_zone_is_refused(self):
        for zone in ("Mars/Phobos", "CEST+", "+02:00", "UTC+2", "Europe", "Europe/",
                     "/Europe/Berlin", "../zoneinfo/UTC", "/usr/share/zoneinfo/UTC", ":UTC",
                     "localtime", "posix/UTC", "right/UTC", "posixrules", "zone.tab",
                     "tzdata.zi", "libc:UTC", "Fixed/UTC+01:00:00", "CET-1CEST,M3.5.0,M10.5.0/3",
                     "Europe/Berlin ", "Europe/Berlin\n", "x" * 5000):
            with self.subTest(zone[:40]), self.assert_error("INVALID_ARGUMENT",
                                                            field="local_time.time_zone"):
                self.create("2027-06-01T12:00:00", zone)

    def test_what_is_no_policy_is_refused(self):
        for field in ("gap_policy", "fold_policy"):
            with self.assert_error("INVALID_ARGUMENT", field="local_time." + field):
                self.create("2027-06-01T12:00:00", "UTC", **{field: 99})

    def test_both_mistakes_are_said_at_once(self):
        with self.assert_error("INVALID_ARGUMENT", field="local_time.time_zone") as failure:
            self.create("noon", "Mars/Phobos")
        self.assertTrue(failure.names("local_time.date_time"))


if __name__ == "__main__":
    unittest.main()
