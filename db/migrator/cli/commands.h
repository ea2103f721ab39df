// The commands of parley-migrate, each with the file that holds it. An Add function adds the
// command to the command line, with its flags; given, it sets line.run.
#pragma once

#include <CLI/CLI.hpp>

#include "db/migrator/cli/command_line.h"

namespace parley::db {

void AddUp(CLI::App& app, CommandLine& line);    // move.cc
void AddDown(CLI::App& app, CommandLine& line);  // move.cc
void AddRedo(CLI::App& app, CommandLine& line);  // move.cc
void AddPlan(CLI::App& app, CommandLine& line);  // move.cc

void AddStatus(CLI::App& app, CommandLine& line);   // state.cc
void AddHistory(CLI::App& app, CommandLine& line);  // state.cc
void AddVersion(CLI::App& app, CommandLine& line);  // state.cc

void AddStamp(CLI::App& app, CommandLine& line);   // mend_history.cc
void AddRepair(CLI::App& app, CommandLine& line);  // mend_history.cc

void AddVerify(CLI::App& app, CommandLine& line);  // schema.cc
void AddDump(CLI::App& app, CommandLine& line);    // schema.cc

void AddWait(CLI::App& app, CommandLine& line);  // wait.cc

void AddSql(CLI::App& app, CommandLine& line);  // files.cc
void AddSum(CLI::App& app, CommandLine& line);  // files.cc

void AddNew(CLI::App& app, CommandLine& line);   // author.cc
void AddLint(CLI::App& app, CommandLine& line);  // author.cc

void AddAdopt(CLI::App& app, CommandLine& line);  // adopt.cc

}  // namespace parley::db
