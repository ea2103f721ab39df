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
  proto.set_reply_to_seq(message.reply_to_seq);
  proto.set_etag(runtime::ToEtag(message.version));
  return proto;
}

v1::MessageRevision ToProto(const MessageRevision& revision) {
  v1::MessageRevision proto;
  proto.set_revision(revision.revision);
  proto.set_text(revision.text);
  *proto.mutable_create_time() = runtime::ToTimestamp(revision.create_time);
  return proto;
}

v1::UnreadCount ToProto(const UnreadCount& count) {
  v1::UnreadCount proto;
  proto.set_chat_id(count.chat_id);
  proto.set_read_seq(count.read_seq);
  proto.set_last_seq(count.last_seq);
  proto.set_unread_count(count.unread);
  return proto;
}

}  // namespace parley::message
