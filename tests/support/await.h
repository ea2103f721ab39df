// Waits for what answers through a callback.
#pragma once

#include <future>
#include <memory>
#include <utility>

namespace parley::testing {

// Calls start(done) and returns what `done` was called with. T: what that is.
template <class T, class Start>
T Await(Start start) {
  // Whoever answers may still be in set_value when this has returned.
  const auto promise = std::make_shared<std::promise<T>>();
  start([promise](T value) { promise->set_value(std::move(value)); });
  return promise->get_future().get();
}

}  // namespace parley::testing
