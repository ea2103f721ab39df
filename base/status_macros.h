// Early return on a failed absl::Status or absl::StatusOr; Abseil 20220623 ships none.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define PARLEY_STATUS_CONCAT_INNER(a, b) a##b
#define PARLEY_STATUS_CONCAT(a, b) PARLEY_STATUS_CONCAT_INNER(a, b)

// Evaluates `expr` (an absl::Status) once and returns it from the function if it is not OK.
#define PARLEY_RETURN_IF_ERROR(expr)                                \
  do {                                                              \
    if (absl::Status parley_status = (expr); !parley_status.ok()) { \
      return parley_status;                                         \
    }                                                               \
  } while (false)

// Evaluates `expr` (an absl::StatusOr<T>) once; assigns the value to `lhs` (which may declare a
// variable) or returns the status from the function.
// NOLINTBEGIN(bugprone-macro-parentheses): a declaration cannot stand in parentheses.
#define PARLEY_ASSIGN_OR_RETURN(lhs, expr) \
  PARLEY_ASSIGN_OR_RETURN_IMPL(PARLEY_STATUS_CONCAT(parley_status_or_, __LINE__), lhs, expr)
#define PARLEY_ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr) \
  auto tmp = (expr);                                 \
  if (!tmp.ok()) return std::move(tmp).status();     \
  lhs = *std::move(tmp)
// NOLINTEND(bugprone-macro-parentheses)
