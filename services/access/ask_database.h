// The gate's questions, answered by the database.
#pragma once

#include "db/repository/access_repository.h"
#include "services/access/gatekeeper.h"

namespace parley::access {

// PERMISSION_DENIED, reason NOT_PERMITTED, if the user lacks what is needed in one of the chats,
// and if there is no chat: of messages that do not exist nobody is told. `roles` must outlive it.
Gatekeeper::AskNeed AskDatabase(db::AccessRepository& roles);

}  // namespace parley::access
