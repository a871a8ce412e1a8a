#pragma once

#include <napi.h>

#include <memory>

#include "io/mapping.h"

namespace tc {

// A FileStat.
Napi::Value stat_object(Napi::Env env, const FileFacts& facts);

// The mapping of a MappedFile; throws when `value` is something else or has been closed.
std::shared_ptr<Mapping> mapping_of(Napi::Env env, const Napi::Value& value);

}  // namespace tc
