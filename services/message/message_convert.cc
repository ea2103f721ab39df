#include "services/message/message_convert.h"

#include "services/runtime/wire.h"

namespace parley::message {

v1::Message ToProto(const Message& message) {
  v1::Message proto;
  proto.set_id(message.id);
  proto.set_chat_id(message.chat_id);
  proto.set_seq(message.seq);
  proto.set_user_id(message.user_id);
  proto.set_text(message.text);
  *proto.mutable_create_time() = runtime::ToTimestamp(message.create_time);
  *proto.mutable_update_time() = runtime::ToTimestamp(message.update_time);
  proto.set_deleted(message.deleted);
  proto.set_revision(message.revision);
  proto.set_etag(runtime::ToEtag(message.version));
  return proto;
}

}  // namespace parley::message
