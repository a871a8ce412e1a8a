#include "crew.h"

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

namespace tc {
namespace {

constexpr unsigned kCopiesMax = 4;

}  // namespace

struct Crew::Job {
  std::unique_ptr<Call> call;
  Kind kind = Kind::Copy;
  Lane* lane = nullptr;
  Job* next = nullptr;
};

void Crew::Jobs::add(Job* job) {
  job->next = nullptr;
  (first == nullptr ? first : last->next) = job;
  last = job;
}

Crew::Job* Crew::Jobs::take() {
  Job* job = first;
  if (job != nullptr) first = job->next;
  return job;
}

// What one environment has under way, and the way of its results to its JavaScript thread. It ends with the environment.
class Crew::Lane {
 public:
  // nullptr where the environment or the system refuses.
  static Lane* of(Napi::Env env) {
    void* known = nullptr;
    if (napi_get_instance_data(env, &known) != napi_ok || known != nullptr) return static_cast<Lane*>(known);
    std::unique_ptr<Lane> lane(new (std::nothrow) Lane);
    if (lane == nullptr || (lane->crew_ = shared()) == nullptr) return nullptr;
    if (napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "tensorcache"), 0, 1, nullptr, nullptr, lane.get(), settle, &lane->results_) != napi_ok) return nullptr;
    // An idle lane does not keep the process alive. The hook is added after Node's own for the function, and so runs before it.
    if (napi_unref_threadsafe_function(env, lane->results_) != napi_ok || napi_add_env_cleanup_hook(env, leave, lane.get()) != napi_ok) {
      napi_release_threadsafe_function(lane->results_, napi_tsfn_abort);
      return nullptr;
    }
    // From here on the lane is the hook's.
    Lane* kept = lane.release();
    return napi_set_instance_data(env, kept, nullptr, nullptr) == napi_ok ? kept : nullptr;
  }

  // False, and the call is as it was, where there is no memory.
  bool add(Napi::Env env, Kind kind, std::unique_ptr<Call>& call) {
    auto* job = new (std::nothrow) Job;
    if (job == nullptr) return false;
    job->call = std::move(call);
    job->kind = kind;
    job->lane = this;
    if (under_way_++ == 0) napi_ref_threadsafe_function(env, results_);
    crew_->add(job);
    return true;
  }

  // On the thread that did it.
  void hand_over(Job* job) {
    bool waking;
    {
      const std::lock_guard lock(mutex_);
      waking = finished_.first == nullptr;
      finished_.add(job);
    }
    // One message for all that finish until it is read; the queue of messages has no limit.
    if (waking) napi_call_threadsafe_function(results_, nullptr, napi_tsfn_nonblocking);
  }

  // Guarded by the crew's mutex.
  unsigned running = 0;

 private:
  // `env` is null when the environment has gone meanwhile; the lane has then gone before it.
  static void settle(napi_env env, napi_value, void* context, void*) {
    if (env == nullptr) return;
    auto* lane = static_cast<Lane*>(context);
    Jobs finished;
    {
      const std::lock_guard lock(lane->mutex_);
      std::swap(finished, lane->finished_);
    }
    while (Job* job = finished.take()) {
      const std::unique_ptr<Job> owned(job);
      try {
        const Napi::HandleScope scope(env);
        job->call->settle(env);
      } catch (const Napi::Error&) {
        // Only an environment that is being stopped refuses; nobody is left to be told.
      }
      if (--lane->under_way_ == 0) napi_unref_threadsafe_function(env, lane->results_);
    }
  }

  static void leave(void* hint) {
    const std::unique_ptr<Lane> lane(static_cast<Lane*>(hint));
    Jobs rest = lane->crew_->withdraw(*lane);
    while (Job* job = rest.take()) delete job;
    while (Job* job = lane->finished_.take()) delete job;
    napi_release_threadsafe_function(lane->results_, napi_tsfn_abort);
  }

  std::shared_ptr<Crew> crew_;
  napi_threadsafe_function results_ = nullptr;
  // Of the JavaScript thread.
  size_t under_way_ = 0;
  std::mutex mutex_;
  Jobs finished_;
};

Napi::Value Crew::run(Napi::Env env, Kind kind, Call::Work work, Call::Done done) {
  auto call = std::make_unique<Call>(env, std::move(work), std::move(done));
  const Napi::Value promise = call->promise();
  Lane* lane = Lane::of(env);
  return lane != nullptr && lane->add(env, kind, call) ? promise : Task::run(env, std::move(call));
}

std::shared_ptr<Crew> Crew::shared() {
  static std::mutex mutex;
  static std::weak_ptr<Crew> current;
  const std::lock_guard lock(mutex);
  auto crew = current.lock();
  if (crew == nullptr) {
    try {
      crew = std::make_shared<Crew>();
    } catch (const std::exception&) {
      return nullptr;
    }
    current = crew;
  }
  return crew;
}

Crew::Crew() {
  const unsigned processors = std::max(1u, std::thread::hardware_concurrency());
  shares_[static_cast<size_t>(Kind::Copy)].most = std::min(processors, kCopiesMax);
  shares_[static_cast<size_t>(Kind::Compute)].most = processors;
  start_thread();
}

Crew::~Crew() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  something_to_do_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Crew::start_thread() { threads_.emplace_back([this] { work(); }); }

Crew::Share& Crew::share_of(const Job& job) { return shares_[static_cast<size_t>(job.kind)]; }

void Crew::add(Job* job) {
  {
    const std::lock_guard lock(mutex_);
    Share& share = share_of(*job);
    share.queue.add(job);
    share.queued++;
    // Idle threads may have been called for what is queued before.
    const unsigned wanted = shares_[0].queued + shares_[1].queued;
    if (share.is_ready() && wanted > idle_ && threads_.size() < shares_[0].most + shares_[1].most) {
      try {
        start_thread();
      } catch (const std::exception&) {
        // Fewer do as well.
      }
    }
  }
  something_to_do_.notify_one();
}

Crew::Jobs Crew::withdraw(const Lane& lane) {
  std::unique_lock lock(mutex_);
  Jobs theirs;
  for (Share& share : shares_) {
    Jobs others;
    unsigned left = 0;
    while (Job* job = share.queue.take()) {
      const bool is_theirs = job->lane == &lane;
      (is_theirs ? theirs : others).add(job);
      if (!is_theirs) left++;
    }
    share.queue = others;
    share.queued = left;
  }
  lane_is_idle_.wait(lock, [&] { return lane.running == 0; });
  return theirs;
}

void Crew::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    idle_++;
    something_to_do_.wait(lock, [this] { return stopping_ || shares_[0].is_ready() || shares_[1].is_ready(); });
    idle_--;
    if (stopping_) return;
    Share& share = shares_[0].is_ready() ? shares_[0] : shares_[1];
    share.queued--;
    share.running++;
    Job* job = share.queue.take();
    Lane& lane = *job->lane;
    lane.running++;
    lock.unlock();
    job->call->perform();
    lane.hand_over(job);
    lock.lock();
    share.running--;
    if (--lane.running == 0) lane_is_idle_.notify_all();
  }
}

}  // namespace tc
