#include "async.h"

#include <cerrno>
#include <cstring>
#include <exception>
#include <new>
#include <thread>

namespace tc {

Error system_error(int number, const std::string& what) {
  const char* name = nullptr;
  switch (number) {
    case EACCES: name = "EACCES"; break;
    case EBADF: name = "EBADF"; break;
    case EDQUOT: name = "EDQUOT"; break;
    case EEXIST: name = "EEXIST"; break;
    case EFAULT: name = "EFAULT"; break;
    case EFBIG: name = "EFBIG"; break;
    case EINVAL: name = "EINVAL"; break;
    case EIO: name = "EIO"; break;
    case EISDIR: name = "EISDIR"; break;
    case ELOOP: name = "ELOOP"; break;
    case EMFILE: name = "EMFILE"; break;
    case ENAMETOOLONG: name = "ENAMETOOLONG"; break;
    case ENFILE: name = "ENFILE"; break;
    case ENODEV: name = "ENODEV"; break;
    case ENOENT: name = "ENOENT"; break;
    case ENOMEM: name = "ENOMEM"; break;
    case ENOSPC: name = "ENOSPC"; break;
    case ENOTDIR: name = "ENOTDIR"; break;
    case EOPNOTSUPP: name = "EOPNOTSUPP"; break;
    case EPERM: name = "EPERM"; break;
    case EROFS: name = "EROFS"; break;
    case ESTALE: name = "ESTALE"; break;
    default: break;
  }
  return {name != nullptr ? name : "ERRNO_" + std::to_string(number), what + ": " + std::strerror(number)};
}

void Call::perform() noexcept {
  try {
    work_();
    return;
  } catch (const Error& error) {
    error_ = error;
  } catch (const std::bad_alloc&) {
    error_ = {"ENOMEM", "out of memory"};
  } catch (const std::exception& error) {
    error_ = {"E_INTERNAL", error.what()};
  }
  failed_ = true;
}

void Call::settle(Napi::Env env) {
  if (failed_) {
    Napi::Error error = Napi::Error::New(env, error_.message);
    error.Set("code", Napi::String::New(env, error_.code));
    deferred_.Reject(error.Value());
  } else {
    deferred_.Resolve(done_(env));
  }
}

void parallel_for(size_t count, unsigned threads, const std::function<void(size_t, size_t)>& body) {
  if (threads < 1) threads = 1;
  if (threads > count) threads = static_cast<unsigned>(count);
  if (threads <= 1) {
    if (count > 0) body(0, count);
    return;
  }
  std::vector<std::exception_ptr> failures(threads);
  std::vector<std::thread> others;
  others.reserve(threads - 1);
  auto piece = [&](unsigned k) {
    try {
      body(count * k / threads, count * (k + 1) / threads);
    } catch (...) {
      failures[k] = std::current_exception();
    }
  };
  for (unsigned k = 1; k < threads; k++) others.emplace_back(piece, k);
  piece(0);
  for (auto& thread : others) thread.join();
  for (auto& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace tc
