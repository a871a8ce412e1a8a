// Threads of the addon's own. Node's pool has four however many processors there are.
//
// Copies are limited by memory: no more at a time than a few, because copies that share a processor push each other's memory out of its caches. What is limited by the
// processor (inflating) has as many threads as there are processors. Neither waits for the other: a batch does not stand behind volumes.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "async.h"

namespace tc {

// One for the process, from the first call on until the last environment that made one is gone: the addon may be unloaded then.
class Crew {
 public:
  enum class Kind : unsigned char { Copy, Compute };

  // As Task::run, which does it where no thread can be started.
  static Napi::Value run(Napi::Env env, Kind kind, Call::Work work, Call::Done done);

  Crew();
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

 private:
  class Lane;
  struct Job;
  // First in, first out. Linked through the jobs, so that no step between a call and its result can run out of memory.
  struct Jobs {
    Job* first = nullptr;
    Job* last = nullptr;
    void add(Job* job);
    Job* take();
  };
  // Of one kind.
  struct Share {
    Jobs queue;
    unsigned queued = 0;
    unsigned running = 0;
    unsigned most = 1;
    bool is_ready() const { return queued > 0 && running < most; }
  };

  static std::shared_ptr<Crew> shared();
  void add(Job* job);
  Share& share_of(const Job& job);
  // Forgets what the lane has in the queue and waits for what it has running.
  Jobs withdraw(const Lane& lane);
  void start_thread();
  void work();

  std::mutex mutex_;
  std::condition_variable something_to_do_;
  std::condition_variable lane_is_idle_;
  Share shares_[2];
  unsigned idle_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace tc
