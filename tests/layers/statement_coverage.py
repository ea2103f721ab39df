#!/usr/bin/python3
"""Proves that the test suite has executed every named statement of db/repository/sql/*.sql.

Runs after all other tests and asks their PostgreSQL (pg_stat_statements) which statements it has
executed, in any database, by the comment that each carries: /* file.Name */.
"""

import os
import pathlib
import re
import sys

NAME = re.compile(r"^-- name: ([A-Za-z0-9]+)", re.MULTILINE)
COMMENT = re.compile(r"^\s*/\* ([a-z_]+\.[A-Za-z0-9]+) \*/")


def named_statements(folder):
    """The names of all statements in the folder, as "file.Name"."""
    return {
        f"{path.stem}.{name}"
        for path in pathlib.Path(folder).glob("*.sql")
        for name in NAME.findall(path.read_text(encoding="utf-8"))
    }


def executed_statements(url):
    """(the names that were executed, what makes the answer unreliable or None)."""
    import psycopg2  # here, so that the parsing can be tested without it

    connection = psycopg2.connect(url)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SHOW shared_preload_libraries")
    if "pg_stat_statements" not in cursor.fetchone()[0]:
        return set(), "the server does not load pg_stat_statements; tests/run.sh starts one that does"
    cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    cursor.execute("SELECT query FROM pg_stat_statements(true) WHERE query LIKE '%/* %'")
    names = {match.group(1) for (query,) in cursor if (match := COMMENT.match(query))}
    cursor.execute("SELECT dealloc FROM pg_stat_statements_info")
    lost = cursor.fetchone()[0]
    problem = f"pg_stat_statements.max is too small: entries were dropped {lost} times" if lost else None
    return names, problem


def report(named, executed, problem):
    """Prints what there is to say; returns the exit code."""
    missing = sorted(named - executed)
    for name in missing:
        print(f"never executed: {name}")
    if missing:
        print("(two statements that differ in their comment only count as the first of them)")
    unknown = sorted(executed - named)
    if unknown:
        print(f"executed, but in no file: {', '.join(unknown)}")
    if problem:
        print(problem)
    print(f"{len(named) - len(missing)} of {len(named)} named statements were executed")
    return 1 if missing or not named or (problem and not executed) else 0


def main():
    named = named_statements(sys.argv[1])
    url = os.environ.get("PARLEY_TEST_DATABASE_URL")
    if not url:
        print("PARLEY_TEST_DATABASE_URL is not set; tests/run.sh sets it")
        return 1
    executed, problem = executed_statements(url)
    return report(named, executed, problem)


if __name__ == "__main__":
    sys.exit(main())
