#include "services/scheduler/delivery.h"

#include <utility>

#include "base/clock.h"

namespace parley::scheduler {

Delivery::~Delivery() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyOne();
  thread_.join();
}

void Delivery::Post(LeaseDemand demand, LeasedTasks leased) {
  {
    MutexLock lock(mutex_);
    parcels_.push_back({std::move(demand), std::move(leased), SteadyNow()});
  }
  wake_.NotifyOne();
}

void Delivery::Run() {
  while (true) {
    Parcel parcel;
    {
      MutexLock lock(mutex_);
      while (parcels_.empty() && !stopping_) wake_.Wait(mutex_);
      if (parcels_.empty()) return;
      parcel = std::move(parcels_.front());
      parcels_.pop_front();
    }
    parcel.leased.lease_left -= SteadyNow() - parcel.posted;
    parcel.demand.done(std::move(parcel.leased));
  }
}

}  // namespace parley::scheduler
