// Databases for tests, on the real PostgreSQL that PARLEY_TEST_DATABASE_URL names.
#pragma once

#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "db/core/dsn.h"
#include "db/core/session_pool.h"

namespace parley::testing {

// A database of the test's own, with Parley's schema: a clone of a template that the first user in
// the cluster migrates. Dropped at the end, whoever is connected. Failures abort the test binary.
class TempDatabase {
 public:
  TempDatabase();
  ~TempDatabase();

  TempDatabase(const TempDatabase&) = delete;
  TempDatabase& operator=(const TempDatabase&) = delete;

  const db::Dsn& dsn() const { return dsn_; }
  std::string url() const { return dsn_.Uri(); }

  // A pool of 16 connections, shared by whoever asks.
  db::SessionPool& pool() { return *pool_; }

  // Runs SQL on a connection of its own; returns the first column of the first row, or "".
  std::string Sql(const std::string& sql) const;

 private:
  const std::string name_;
  const db::Dsn dsn_;
  std::unique_ptr<db::SessionPool> pool_;
};

// PARLEY_TEST_DATABASE_URL, parsed; aborts with an explanation if it is not set.
db::Dsn ClusterDsn();

// Runs SQL (several statements, no parameters) on a connection of its own to `dsn`; returns the
// first column of the last result's first row, or "". Aborts on an error.
std::string RunSql(const db::Dsn& dsn, const std::string& sql);

// RunSql on a connection that stays open, for tests that hold locks.
class SqlConnection {
 public:
  explicit SqlConnection(const db::Dsn& dsn);
  ~SqlConnection();
  SqlConnection(const SqlConnection&) = delete;
  SqlConnection& operator=(const SqlConnection&) = delete;
  std::string Run(const std::string& sql);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace parley::testing
