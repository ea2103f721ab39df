"""A database for each class of tests."""

import contextlib
import itertools
import os
import urllib.parse

import psycopg2

import programs

OURS = "system-test"  # application_name of the tests' own connections


class Database:
    """A database of its own, migrated by parley-migrate unless told otherwise; in the cluster of the
    tests, or in that of a URL."""

    _numbers = itertools.count()

    def __init__(self, subject, migrate=True, cluster_url=None):
        self.name = f"sys_{subject}_{os.getpid()}_{next(self._numbers)}"
        parts = urllib.parse.urlsplit(
            cluster_url or programs.setting("PARLEY_TEST_DATABASE_URL"))
        self._admin_url = parts.geturl()
        self.url = parts._replace(path="/" + self.name).geturl()
        self._connections = (
            f"FROM pg_stat_activity WHERE datname = '{self.name}'"
            f" AND backend_type = 'client backend' AND application_name <> '{OURS}'")
        self.administer(f"CREATE DATABASE {self.name}")
        if migrate:
            self.migrate("up")

    def move_to(self, cluster_url):
        """It is to be found in another cluster from now on."""
        self._admin_url = cluster_url
        self.url = urllib.parse.urlsplit(cluster_url)._replace(path="/" + self.name).geturl()

    def administer(self, sql):
        with contextlib.closing(psycopg2.connect(self._admin_url)) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(sql)
            return cursor.fetchone()[0] if cursor.description else None

    def drop(self):
        self.administer(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")

    def migrate(self, *arguments, check=True):
        return programs.run_binary("migrate", *arguments, url=self.url, check=check)

    def connect(self):
        return psycopg2.connect(self.url, application_name=OURS)

    def rows(self, sql, *values):
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(sql, values)
            rows = cursor.fetchall() if cursor.description else []
            connection.commit()
            return rows

    def value(self, sql, *values):
        return self.rows(sql, *values)[0][0]

    @contextlib.contextmanager
    def locked(self, table, row_id):
        """Holds a lock on one row; whoever wants to change the row waits."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT FROM {table} WHERE id = %s FOR UPDATE", (row_id,))
            yield

    def connections(self):
        """How many connections the services have."""
        return self.administer(f"SELECT count(*) {self._connections}")

    def blocked_statements(self):
        """How many of the services' statements wait for a lock."""
        return self.administer(f"SELECT count(*) {self._connections} AND wait_event_type = 'Lock'")

    def terminate_backends(self):
        """Breaks every connection of the services; returns how many there were."""
        return self.administer(f"SELECT count(pg_terminate_backend(pid)) {self._connections}")

    @contextlib.contextmanager
    def listening(self, channel):
        """Yields a function that returns the payloads of all notifications so far."""
        with contextlib.closing(self.connect()) as connection:
            connection.autocommit = True
            connection.cursor().execute(f"LISTEN {channel}")

            def heard():
                connection.poll()
                return {notification.payload for notification in connection.notifies}

            yield heard

    def script(self, sql):
        """Runs a script that has transactions of its own."""
        with contextlib.closing(self.connect()) as connection:
            connection.autocommit = True
            connection.cursor().execute(sql)


def skew(database, hours):
    """Puts now() so many hours ahead for whoever connects from now on, as if a host's clock were wrong."""
    database.rows(f"""
        CREATE SCHEMA skewed;
        CREATE FUNCTION skewed.now() RETURNS timestamptz STABLE LANGUAGE sql
          AS $$ SELECT pg_catalog.now() + interval '{hours} h' $$;
        GRANT USAGE ON SCHEMA skewed TO PUBLIC;
        ALTER DATABASE {database.name} SET search_path = skewed, pg_catalog, public""")
