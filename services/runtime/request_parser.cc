#include "services/runtime/request_parser.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "base/text.h"

namespace parley::runtime {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

// How deep messages may lie in each other; protobuf's own parser has a limit too.
constexpr int kMaxDepth = 50;

void FindInvalidText(const Descriptor& type, const UnknownFieldSet& fields,
                     const std::string& prefix, int depth, Violations& violations) {
  std::map<int, int> seen;
  for (int i = 0; i < fields.field_count() && depth < kMaxDepth; ++i) {
    const UnknownField& field = fields.field(i);
    const FieldDescriptor* known = type.FindFieldByNumber(field.number());
    if (known == nullptr || field.type() != UnknownField::TYPE_LENGTH_DELIMITED) continue;
    const std::string path =
        known->is_repeated() ? absl::StrCat(prefix, known->name(), "[", seen[field.number()]++, "]")
                             : absl::StrCat(prefix, known->name());
    if (known->type() == FieldDescriptor::TYPE_STRING) {
      if (!CountCodePoints(field.length_delimited())) {
        violations.Add(path, "must be valid UTF-8");
      }
    } else if (known->type() == FieldDescriptor::TYPE_MESSAGE) {
      UnknownFieldSet inner;
      if (inner.ParseFromString(field.length_delimited())) {
        FindInvalidText(*known->message_type(), inner, path + ".", depth + 1, violations);
      }
    }
  }
}

std::string Flatten(const grpc::ByteBuffer& bytes) {
  std::vector<grpc::Slice> slices;
  std::string flat;
  if (!bytes.Dump(&slices).ok()) return flat;
  flat.reserve(bytes.Length());
  for (const grpc::Slice& slice : slices) {
    flat.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return flat;
}

}  // namespace

absl::Status ParseRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& request) {
  grpc::ByteBuffer copy = bytes;  // shares the bytes; Deserialize clears its argument
  if (grpc::SerializationTraits<google::protobuf::Message>::Deserialize(&copy, &request).ok()) {
    return absl::OkStatus();
  }
  Violations violations;
  UnknownFieldSet fields;
  if (fields.ParseFromString(Flatten(bytes))) {
    FindInvalidText(*request.GetDescriptor(), fields, "", 0, violations);
  }
  if (violations.empty()) {
    return Error(absl::StatusCode::kInvalidArgument, reason::kInvalidArgument,
                 absl::StrCat("the request is not a ", request.GetDescriptor()->full_name()));
  }
  return violations.ToStatus();
}

absl::Status SerializeReply(const google::protobuf::Message& reply, grpc::ByteBuffer& bytes) {
  bool own_buffer = false;
  const grpc::Status status =
      grpc::SerializationTraits<google::protobuf::Message>::Serialize(reply, &bytes, &own_buffer);
  return status.ok() ? absl::OkStatus() : InternalError("the reply could not be serialized");
}

absl::Status QueueFullError() {
  return WithRetryDelay(Error(absl::StatusCode::kResourceExhausted, reason::kQueueFull,
                              "too many calls are waiting; try again later"),
                        absl::Milliseconds(100));
}

}  // namespace parley::runtime
