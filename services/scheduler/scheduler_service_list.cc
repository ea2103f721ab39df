// The calls of SchedulerService that list.
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "base/fingerprint.h"
#include "base/status_macros.h"
#include "services/runtime/page_token.h"
#include "services/scheduler/scheduler_service.h"
#include "services/scheduler/task_rules.h"

namespace parley::scheduler {
namespace {

using Death = db::TaskRepository::Death;

// Places in a list, as page tokens hold them.
std::string PlaceOf(std::int64_t task_id) { return absl::StrCat(task_id); }
std::string PlaceOf(const Death& death) {
  return absl::StrCat(absl::ToUnixMicros(death.time), ":", death.task_id);
}

bool ReadPlace(const std::string& text, std::int64_t& task_id) {
  return absl::SimpleAtoi(text, &task_id);
}
bool ReadPlace(const std::string& text, Death& death) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  std::int64_t micros = 0;
  if (!absl::SimpleAtoi(parts.first, &micros)) return false;
  death.time = absl::FromUnixMicros(micros);
  return absl::SimpleAtoi(parts.second, &death.task_id);
}

// What the request says of the page. Tokens are bound to `binding`.
template <class Request, class Place>
void FillPage(const Request& request, const std::string& binding, PageParams<Place>& page,
              Violations& violations) {
  const runtime::PageRequest asked =
      runtime::CheckPage({request.limit(), request.offset(), request.page_token()}, binding,
                         {.max = db::kMaxListed}, violations);
  page.limit = asked.limit;
  page.offset = asked.offset;
  if (!asked.position) return;
  Place place = Place();
  if (ReadPlace(*asked.position, place)) {
    page.after = place;
  } else {
    violations.Add("page_token", "holds no place in this list");
  }
}

template <class Response, class Place>
Response AnswerWith(const Page<Task, Place>& page, const std::string& binding) {
  Response response;
  for (const Task& task : page.rows) Fill(task, *response.add_tasks());
  if (page.next) {
    response.set_next_page_token(runtime::EncodePageToken(binding, PlaceOf(*page.next)));
  }
  return response;
}

}  // namespace

grpc::ServerUnaryReactor* SchedulerService::ListTasks(Context* context, const Bytes* in,
                                                      Bytes* out) {
  return calls_.Unary<pb::ListTasksRequest, pb::ListTasksResponse>(
      {.name = "ListTasks"}, context, in, out,
      [this](const runtime::Call& call, const pb::ListTasksRequest& request) {
        return List(call, request);
      });
}

absl::StatusOr<pb::ListTasksResponse> SchedulerService::List(const runtime::Call& call,
                                                             const pb::ListTasksRequest& request) {
  Violations violations;
  const std::string binding =
      Fingerprint({"ListTasks", request.queue(), absl::StrCat(request.state())});
  db::TaskRepository::ListParams params;
  FillPage(request, binding, params.page, violations);
  CheckQueueFilter(request.queue(), violations);
  params.queue = request.queue();
  params.state = FilterFromProto(request.state(), violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(const auto page, parts_.tasks.ListTasks(params, call.deadline()));
  return AnswerWith<pb::ListTasksResponse>(page, binding);
}

grpc::ServerUnaryReactor* SchedulerService::ListDeadTasks(Context* context, const Bytes* in,
                                                          Bytes* out) {
  return calls_.Unary<pb::ListDeadTasksRequest, pb::ListDeadTasksResponse>(
      {.name = "ListDeadTasks"}, context, in, out,
      [this](const runtime::Call& call, const pb::ListDeadTasksRequest& request) {
        return ListDead(call, request);
      });
}

absl::StatusOr<pb::ListDeadTasksResponse> SchedulerService::ListDead(
    const runtime::Call& call, const pb::ListDeadTasksRequest& request) {
  Violations violations;
  const std::string binding = Fingerprint({"ListDeadTasks", request.queue(), request.name()});
  db::TaskRepository::ListDeadParams params;
  FillPage(request, binding, params.page, violations);
  CheckQueueFilter(request.queue(), violations);
  CheckNameFilter(request.name(), violations);
  params.queue = request.queue();
  params.name = request.name();
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(const auto page, parts_.tasks.ListDeadTasks(params, call.deadline()));
  return AnswerWith<pb::ListDeadTasksResponse>(page, binding);
}

}  // namespace parley::scheduler
