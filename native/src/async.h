// Work on a thread, results on the JavaScript thread.
#pragma once

#include <napi.h>

#include <functional>
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

// Runs `work` on a thread of Node's pool and settles the promise with `done(env)` on the JavaScript thread. What both lambdas share travels in a
// std::shared_ptr that they capture; `Bytes` in it are dropped on the JavaScript thread, because the task is.
class Task : public Napi::AsyncWorker {
 public:
  using Work = std::function<void()>;
  using Done = std::function<Napi::Value(Napi::Env)>;

  static Napi::Value run(Napi::Env env, Work work, Done done) {
    auto* task = new Task(env, std::move(work), std::move(done));
    Napi::Value promise = task->deferred_.Promise();
    task->Queue();
    return promise;
  }

 private:
  Task(Napi::Env env, Work work, Done done)
      : Napi::AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)), work_(std::move(work)), done_(std::move(done)) {}
  void Execute() override {
    try {
      work_();
    } catch (const Error& error) {
      failed_ = true;
      error_ = error;
    } catch (const std::bad_alloc&) {
      failed_ = true;
      error_ = {"ENOMEM", "out of memory"};
    } catch (const std::exception& error) {
      failed_ = true;
      error_ = {"E_INTERNAL", error.what()};
    }
  }
  void OnOK() override {
    Napi::HandleScope scope(Env());
    if (failed_) {
      Napi::Error error = Napi::Error::New(Env(), error_.message);
      error.Set("code", Napi::String::New(Env(), error_.code));
      deferred_.Reject(error.Value());
    } else {
      deferred_.Resolve(done_(Env()));
    }
  }

  Napi::Promise::Deferred deferred_;
  Work work_;
  Done done_;
  bool failed_ = false;
  Error error_;
};

// Splits [0, count) into at most `threads` contiguous pieces and runs `body(begin, end)` on each, one of them on the calling thread.
// The first exception thrown by a piece is thrown again here.
void parallel_for(size_t count, unsigned threads, const std::function<void(size_t, size_t)>& body);

}  // namespace tc
