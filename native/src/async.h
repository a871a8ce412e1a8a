// Work on a thread, results on the JavaScript thread.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tc {

// Thrown by native work; reaches JavaScript as an Error with `code`.
struct Error {
  std::string code;
  std::string message;
};

// An Error for errno `number` with its name as the code, as Node's own file functions give.
Error system_error(int number, const std::string& what);

// The bytes of a typed array together with what keeps them alive. Use `data`/`size` on any thread; make and drop it on the JS thread only.
class Bytes {
 public:
  Bytes() = default;
  explicit Bytes(const Napi::Value& value) {
    Napi::TypedArray array = value.As<Napi::TypedArray>();
    data = static_cast<uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset();
    size = array.ByteLength();
    owner_ = Napi::Persistent(value.As<Napi::Object>());
  }
  uint8_t* data = nullptr;
  size_t size = 0;

 private:
  Napi::ObjectReference owner_;
};

// Work on a thread and the promise that waits for it. What both lambdas share travels in a std::shared_ptr that they capture; `Bytes` in it are dropped on
// the JavaScript thread, because the call is made, settled and destroyed there.
class Call {
 public:
  using Work = std::function<void()>;
  using Done = std::function<Napi::Value(Napi::Env)>;

  Call(Napi::Env env, Work work, Done done) : deferred_(Napi::Promise::Deferred::New(env)), work_(std::move(work)), done_(std::move(done)) {}
  Napi::Value promise() const { return deferred_.Promise(); }
  // On any thread.
  void perform() noexcept;
  void settle(Napi::Env env);

 private:
  Napi::Promise::Deferred deferred_;
  Work work_;
  Done done_;
  bool failed_ = false;
  Error error_;
};

// Runs `work` on a thread of Node's pool and settles the promise with `done(env)` on the JavaScript thread.
class Task : public Napi::AsyncWorker {
 public:
  static Napi::Value run(Napi::Env env, Call::Work work, Call::Done done) { return run(env, std::make_unique<Call>(env, std::move(work), std::move(done))); }
  static Napi::Value run(Napi::Env env, std::unique_ptr<Call> call) {
    auto* task = new Task(env, std::move(call));
    Napi::Value promise = task->call_->promise();
    task->Queue();
    return promise;
  }

 private:
  Task(Napi::Env env, std::unique_ptr<Call> call) : Napi::AsyncWorker(env), call_(std::move(call)) {}
  void Execute() override { call_->perform(); }
  void OnOK() override {
    Napi::HandleScope scope(Env());
    call_->settle(Env());
  }

  std::unique_ptr<Call> call_;
};

// Splits [0, count) into at most `threads` contiguous pieces and runs `body(begin, end)` on each, one of them on the calling thread.
// The first exception thrown by a piece is thrown again here.
void parallel_for(size_t count, unsigned threads, const std::function<void(size_t, size_t)>& body);

}  // namespace tc
