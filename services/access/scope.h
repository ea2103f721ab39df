// What a caller may be allowed to do. Names are those of tokens and of the callers' file.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace parley::access {

enum class Scope : std::uint8_t {
  kChatRead,      // chat.read
  kChatWrite,     // chat.write
  kMessageRead,   // message.read
  kMessageWrite,  // message.write
  kTaskProduce,   // task.produce
  kTaskWork,      // task.work
  kAdmin,         // admin: what operators do; contains none of the others
};
inline constexpr int kScopeCount = 7;

absl::string_view ScopeName(Scope scope);
// Nothing for a name that is not one of ours.
std::optional<Scope> ParseScope(absl::string_view name);

// A set of scopes.
class ScopeSet {
 public:
  constexpr ScopeSet() = default;
  constexpr ScopeSet(std::initializer_list<Scope> scopes) {
    for (const Scope scope : scopes) Add(scope);
  }

  constexpr void Add(Scope scope) { bits_ |= Bit(scope); }
  constexpr bool Contains(Scope scope) const { return (bits_ & Bit(scope)) != 0; }
  constexpr bool Intersects(ScopeSet other) const { return (bits_ & other.bits_) != 0; }
  constexpr bool empty() const { return bits_ == 0; }

 private:
  static constexpr unsigned Bit(Scope scope) { return 1U << static_cast<unsigned>(scope); }
  unsigned bits_ = 0;
};

// "chat.read or admin"
std::string ToString(ScopeSet scopes);

}  // namespace parley::access
