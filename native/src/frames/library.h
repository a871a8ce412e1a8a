// Functions of libraries that are in the process already, or on the system: asked for when first needed, so that the addon builds and loads without them.
#pragma once

#include <dlfcn.h>

#include <initializer_list>

namespace tc::frames {

class Library {
 public:
  // Of the process itself, when it exports `probe`; otherwise the first of `files` that can be opened. It stays open.
  Library(const char* probe, std::initializer_list<const char*> files) {
    if (dlsym(RTLD_DEFAULT, probe) != nullptr) {
      handle_ = RTLD_DEFAULT;
      found_ = true;
      return;
    }
    for (const char* file : files) {
      handle_ = dlopen(file, RTLD_NOW | RTLD_LOCAL);
      if (handle_ == nullptr) continue;
      found_ = dlsym(handle_, probe) != nullptr;
      if (found_) return;
    }
  }

  // False as soon as one function is not there.
  bool found() const { return found_; }

  template <typename Function>
  void bind(Function*& function, const char* name) {
    function = found_ ? reinterpret_cast<Function*>(dlsym(handle_, name)) : nullptr;
    if (function == nullptr) found_ = false;
  }

 private:
  void* handle_ = nullptr;
  bool found_ = false;
};

}  // namespace tc::frames
