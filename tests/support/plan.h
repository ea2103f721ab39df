// Plans of PostgreSQL, as EXPLAIN (FORMAT JSON) prints them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace parley::testing {

// Appends the node and all below it, from the top.
inline void AddPlanNodes(const nlohmann::json& node, std::vector<nlohmann::json>& out) {
  out.push_back(node);
  if (!node.contains("Plans")) return;
  for (const nlohmann::json& child : node["Plans"]) AddPlanNodes(child, out);
}

// All nodes of the plan that EXPLAIN printed, from the top.
inline std::vector<nlohmann::json> PlanNodes(const std::string& explained) {
  std::vector<nlohmann::json> nodes;
  AddPlanNodes(nlohmann::json::parse(explained)[0]["Plan"], nodes);
  return nodes;
}

// Rows that came out of the node, over all its loops; only with EXPLAIN (ANALYZE).
inline double RowsOf(const nlohmann::json& node) {
  return node["Actual Rows"].get<double>() * node["Actual Loops"].get<double>();
}

}  // namespace parley::testing
