// Messages between the wire and the model.
#pragma once

#include "db/model/message.h"
#include "parley/message/v1/message.pb.h"

namespace parley::message {

v1::Message ToProto(const Message& message);
v1::MessageRevision ToProto(const MessageRevision& revision);
v1::UnreadCount ToProto(const UnreadCount& count);

}  // namespace parley::message
