// Threads of the addon's own, for work that is limited by memory: no more of them than there are processors, because copies that share a processor push each
// other's memory out of its caches. Node's pool has four threads however many processors there are.
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
  // As Task::run, which does it where no thread can be started.
  static Napi::Value run(Napi::Env env, Call::Work work, Call::Done done);

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

  static std::shared_ptr<Crew> shared();
  void add(Job* job);
  // Forgets what the lane has in the queue and waits for what it has running.
  Jobs withdraw(const Lane& lane);
  void work();

  std::mutex mutex_;
  std::condition_variable something_to_do_;
  std::condition_variable lane_is_idle_;
  Jobs queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace tc
