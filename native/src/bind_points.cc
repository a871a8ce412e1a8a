// PointGrid and nearestListed: see src/native/addon.ts.
#include <memory>
#include <string>

#include "arguments.h"
#include "crew.h"
#include "points/grid.h"
#include "points/listed.h"

namespace tc {
namespace {

Napi::Value undefined(Napi::Env env) { return env.Undefined(); }

constexpr size_t kPointsMax = size_t{1} << 31;

class PointGridObject : public Napi::ObjectWrap<PointGridObject> {
 public:
  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set("PointGrid", DefineClass(env, "PointGrid", {InstanceMethod<&PointGridObject::build>("build"), InstanceMethod<&PointGridObject::nearest>("nearest")}));
  }

  explicit PointGridObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<PointGridObject>(info) {}

 private:
  using Slot = std::shared_ptr<std::shared_ptr<const points::PointGrid>>;

  Napi::Value build(const Napi::CallbackInfo& info) {
    struct Work {
      Bytes x, y;
      Slot slot;
    };
    auto work = std::make_shared<Work>(Work{typed_argument(info, 0, "x", napi_float64_array, "Float64Array"), typed_argument(info, 1, "y", napi_float64_array, "Float64Array"), slot_});
    const auto x = span_of<double>(work->x), y = span_of<double>(work->y);
    if (x.size() != y.size() || x.size() >= kPointsMax) throw_range(info.Env(), "x and y must be equally long, and shorter than 2^31");
    for (size_t k = 0; k < x.size(); k++) {
      if (!std::isfinite(x[k]) || !std::isfinite(y[k])) throw_range(info.Env(), "point " + std::to_string(k) + " is not finite");
    }
    return Task::run(info.Env(), [work] { *work->slot = std::make_shared<const points::PointGrid>(span_of<double>(work->x), span_of<double>(work->y)); }, undefined);
  }

  Napi::Value nearest(const Napi::CallbackInfo& info) {
    struct Work {
      Bytes x, y, index, squared;
      uint32_t k;
      unsigned threads;
      std::shared_ptr<const points::PointGrid> grid;
    };
    const Napi::Env env = info.Env();
    if (*slot_ == nullptr) throw_type(env, "build must have settled");
    const auto grid = *slot_;
    auto work = std::make_shared<Work>(Work{
        typed_argument(info, 0, "x", napi_float64_array, "Float64Array"), typed_argument(info, 1, "y", napi_float64_array, "Float64Array"), typed_argument(info, 3, "index", napi_int32_array, "Int32Array"),
        typed_argument(info, 4, "squared", napi_float64_array, "Float64Array"), static_cast<uint32_t>(integer_argument(info, 2, "k", 1, static_cast<double>(grid->size()))),
        static_cast<unsigned>(integer_argument(info, 5, "threads", 1, 1024)), grid});
    const size_t count = work->x.size / sizeof(double);
    if (work->y.size != work->x.size || work->index.size / sizeof(int32_t) != count * work->k || work->squared.size / sizeof(double) != count * work->k) {
      throw_range(env, "y must be as long as x, index and squared k times as long");
    }
    return Task::run(
        env,
        [work, count] {
          const auto x = span_of<double>(work->x), y = span_of<double>(work->y);
          auto* const index = reinterpret_cast<int32_t*>(work->index.data);
          auto* const squared = reinterpret_cast<double*>(work->squared.data);
          parallel_for(count, work->threads, [&](size_t begin, size_t end) {
            points::PointGrid::Found found;
            for (size_t q = begin; q < end; q++) work->grid->nearest(x[q], y[q], work->k, index + q * work->k, squared + q * work->k, found);
          });
        },
        undefined);
  }

  Slot slot_ = std::make_shared<std::shared_ptr<const points::PointGrid>>();
};

Napi::Value nearest_listed(const Napi::CallbackInfo& info) {
  struct Work {
    Bytes x, y, order, lists, at, index, squared, done;
    size_t room;
    uint32_t k;
    unsigned threads;
  };
  const auto doubles = [&](size_t k, const char* name) { return typed_argument(info, k, name, napi_float64_array, "Float64Array"); };
  const auto integers = [&](size_t k, const char* name) { return typed_argument(info, k, name, napi_int32_array, "Int32Array"); };
  auto work = std::make_shared<Work>(Work{
      doubles(0, "x"), doubles(1, "y"), integers(2, "order"), typed_argument(info, 3, "lists", napi_uint32_array, "Uint32Array"), integers(4, "at"), integers(7, "index"), doubles(8, "squared"),
      typed_argument(info, 9, "done", napi_uint8_array, "Uint8Array"), static_cast<size_t>(integer_argument(info, 5, "room", 1, 0x7fffffff)), static_cast<uint32_t>(integer_argument(info, 6, "k", 1, 0x7fffffff)),
      static_cast<unsigned>(integer_argument(info, 10, "threads", 1, 1024))});
  const size_t count = work->at.size / sizeof(int32_t);
  if (work->y.size != work->x.size || work->lists.size / sizeof(uint32_t) != count * (work->room + 1) || work->done.size != count || work->index.size / sizeof(int32_t) != count * work->k ||
      work->squared.size / sizeof(double) != count * work->k) {
    throw_range(info.Env(), "y must be as long as x, lists 1 + room times as long as at, index and squared k times, done as long");
  }
  return Task::run(
      info.Env(),
      [work, count] {
        const points::Lists lists{span_of<double>(work->x), span_of<double>(work->y), span_of<int32_t>(work->order), span_of<uint32_t>(work->lists), work->room};
        const auto at = span_of<int32_t>(work->at);
        auto* const index = reinterpret_cast<int32_t*>(work->index.data);
        auto* const squared = reinterpret_cast<double*>(work->squared.data);
        parallel_for(count, work->threads, [&](size_t begin, size_t end) {
          points::PointGrid::Found found;
          for (size_t q = begin; q < end; q++) work->done.data[q] = points::nearest_listed(lists, q, at[q], work->k, index + q * work->k, squared + q * work->k, found);
        });
      },
      undefined);
}

}  // namespace

void init_points(Napi::Env env, Napi::Object exports) {
  PointGridObject::define(env, exports);
  exports.Set("nearestListed", Napi::Function::New<nearest_listed>(env, "nearestListed"));
}

}  // namespace tc
