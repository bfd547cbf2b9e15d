// Calls any ATen operator by name through c10's dispatcher. Arguments are bound by name to the operator's schema; missing
// ones take its defaults. Autograd works. The Rust side (operators.rs) restricts which operators a model file can call.

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <malloc.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/version.h>
#include <atomic>
#include <cstdint>
#include <limits>
#include <mutex>
#include <string>

namespace {

thread_local std::string last_error;

enum Kind : int32_t {
  kNone = 0,
  kTensor = 1,
  kInt = 2,
  kFloat = 3,
  kBool = 4,
  kString = 5,
  kInts = 6,
  kFloats = 7,
  kBools = 8,
  kTensors = 9,
  kDevice = 10,
};

struct Argument {
  const char* name;
  int32_t kind;
  int64_t integer;
  double real;
  const void* data;
  size_t length;
};

c10::IValue scalar_list(const Argument& argument, const c10::TypePtr& element) {
  c10::impl::GenericList list(element);
  if (argument.kind == kFloats) {
    const auto* values = static_cast<const double*>(argument.data);
    for (size_t i = 0; i < argument.length; ++i) list.push_back(c10::IValue(values[i]));
  } else {
    const auto* values = static_cast<const int64_t*>(argument.data);
    for (size_t i = 0; i < argument.length; ++i) list.push_back(c10::IValue(values[i]));
  }
  return list;
}

c10::IValue tensor_list(const Argument& argument, const c10::TypePtr& element) {
  const auto* tensors = static_cast<at::Tensor* const*>(argument.data);
  if (element->kind() == c10::TypeKind::OptionalType) {
    c10::List<std::optional<at::Tensor>> list;
    for (size_t i = 0; i < argument.length; ++i)
      list.push_back(tensors[i] ? std::optional<at::Tensor>(*tensors[i]) : std::nullopt);
    return list;
  }
  c10::List<at::Tensor> list;
  for (size_t i = 0; i < argument.length; ++i) {
    TORCH_CHECK(tensors[i], "a tensor is missing in list argument '", argument.name, "'");
    list.push_back(*tensors[i]);
  }
  return list;
}

// A number for a tensor parameter, wrapped as in the Python bindings so that it does not affect type promotion.
at::Tensor wrapped_number(const Argument& argument) {
  const c10::Scalar number = argument.kind == kFloat  ? c10::Scalar(argument.real)
                             : argument.kind == kBool ? c10::Scalar(argument.integer != 0)
                                                      : c10::Scalar(argument.integer);
  at::Tensor tensor = at::scalar_tensor(number, at::TensorOptions(number.type()));
  tensor.unsafeGetTensorImpl()->set_wrapped_number(true);
  return tensor;
}

c10::IValue convert(const Argument& argument, c10::TypePtr type) {
  if (auto optional = type->cast<c10::OptionalType>()) {
    if (argument.kind == kNone) return {};
    type = optional->getElementType();
  }
  const bool number = argument.kind == kInt || argument.kind == kFloat || argument.kind == kBool;
  if (number && type->kind() == c10::TypeKind::TensorType) return wrapped_number(argument);
  switch (argument.kind) {
    case kNone:
      return {};
    case kTensor:
      return *static_cast<const at::Tensor*>(argument.data);
    case kInt:
      if (type->kind() == c10::TypeKind::FloatType) return static_cast<double>(argument.integer);
      if (type->kind() == c10::TypeKind::ListType)
        return c10::List<int64_t>({argument.integer});
      return argument.integer;
    case kFloat:
      return argument.real;
    case kBool:
      return argument.integer != 0;
    case kString:
      return std::string(static_cast<const char*>(argument.data), argument.length);
    case kDevice:
      return c10::Device(std::string(static_cast<const char*>(argument.data), argument.length));
    default:
      break;
  }
  auto list_type = type->cast<c10::ListType>();
  TORCH_CHECK(list_type, "argument '", argument.name, "' is a list, but the schema expects ", type->str());
  auto element = list_type->getElementType();
  switch (argument.kind) {
    case kTensors:
      return tensor_list(argument, element);
    case kBools: {
      const auto* values = static_cast<const int64_t*>(argument.data);
      c10::List<bool> list;
      for (size_t i = 0; i < argument.length; ++i) list.push_back(values[i] != 0);
      return list;
    }
    case kInts:
    case kFloats: {
      if (element->kind() == c10::TypeKind::FloatType) {
        c10::List<double> list;
        for (size_t i = 0; i < argument.length; ++i)
          list.push_back(argument.kind == kFloats ? static_cast<const double*>(argument.data)[i]
                                                  : static_cast<double>(static_cast<const int64_t*>(argument.data)[i]));
        return list;
      }
      if (argument.kind == kInts && (element->kind() == c10::TypeKind::IntType || element->kind() == c10::TypeKind::SymIntType)) {
        c10::List<int64_t> list;
        const auto* values = static_cast<const int64_t*>(argument.data);
        for (size_t i = 0; i < argument.length; ++i) list.push_back(values[i]);
        return list;
      }
      // An empty list of tensors arrives as an empty list of integers.
      if (argument.length == 0 && element->kind() == c10::TypeKind::TensorType) return c10::List<at::Tensor>();
      return scalar_list(argument, element);
    }
    default:
      TORCH_CHECK(false, "argument '", argument.name, "' has an unknown kind");
  }
}

// A clamp whose backward pass keeps only positive gradients (DeconvNet) and, if guided, only those where the input is
// strictly inside the range.
struct Rectifier : public torch::autograd::Function<Rectifier> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& input, double low, double high, bool guided) {
    if (guided) context->save_for_backward({input});
    context->saved_data["low"] = low;
    context->saved_data["high"] = high;
    return input.clamp(low, high);
  }

  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context, torch::autograd::tensor_list gradients) {
    at::Tensor gradient = gradients[0].clamp_min(0);
    const auto saved = context->get_saved_variables();
    if (!saved.empty()) {
      const double low = context->saved_data["low"].toDouble();
      const double high = context->saved_data["high"].toDouble();
      gradient = gradient * saved[0].gt(low).logical_and_(saved[0].lt(high));
    }
    return {gradient, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

// Bytes of all tensors on the CPU, and how many there may be when this thread asks for more.
std::atomic<int64_t> allocated{0};
constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();
thread_local int64_t limit = kUnlimited;

// libtorch's allocator with that limit. Operators multiply the size of their inputs, and only the allocator knows by how much
// before the memory is taken.
struct LimitedAllocator final : c10::Allocator {
  static void release(void* data) {
    allocated -= static_cast<int64_t>(malloc_usable_size(data));
    c10::free_cpu(data);
  }

  c10::DataPtr allocate(size_t bytes) override {
    const int64_t room = std::max<int64_t>(limit - allocated, 0);
    TORCH_CHECK(bytes <= static_cast<size_t>(room), "over the memory limit: ", bytes, " bytes more");
    void* data = c10::alloc_cpu(bytes);
    allocated += static_cast<int64_t>(malloc_usable_size(data));
    return {data, data, &release, c10::Device(c10::kCPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }
};

template <typename Body>
int guarded(Body body) {
  try {
    body();
    return 0;
  } catch (const c10::Error& error) {
    last_error = error.what_without_backtrace();
  } catch (const std::exception& error) {
    last_error = error.what();
  } catch (...) {
    last_error = "unknown C++ exception";
  }
  return 1;
}

}  // namespace

extern "C" {

const char* prospect_torch_version() { return TORCH_VERSION; }

const char* prospect_last_error() { return last_error.c_str(); }

// The handle of an operator, or null if libtorch lacks it. Handles live as long as the process.
const void* prospect_operator(const char* name, const char* overload) {
  const c10::OperatorHandle* handle = nullptr;
  guarded([&] {
    auto found = c10::Dispatcher::singleton().findSchema({name, overload});
    if (found) handle = new c10::OperatorHandle(*found);
  });
  return handle;
}

// Calls an operator and passes each result tensor to `push`, the elements of a list one by one.
int prospect_call(const void* operator_handle, const Argument* arguments, size_t count,
                  void (*push)(void* context, at::Tensor* tensor), void* context) {
  return guarded([&] {
    const auto& handle = *static_cast<const c10::OperatorHandle*>(operator_handle);
    const auto& schema = handle.schema();
    for (size_t i = 0; i < count; ++i)
      TORCH_CHECK(schema.argumentIndexWithName(arguments[i].name), schema.name(), " has no argument '", arguments[i].name, "'");
    torch::jit::Stack stack;
    for (const auto& parameter : schema.arguments()) {
      const Argument* given = nullptr;
      for (size_t i = 0; i < count; ++i)
        if (parameter.name() == arguments[i].name) given = &arguments[i];
      if (given) {
        stack.push_back(convert(*given, parameter.real_type()));
      } else {
        TORCH_CHECK(parameter.default_value().has_value(), schema.name(), " lacks the required argument '", parameter.name(), "'");
        stack.push_back(*parameter.default_value());
      }
    }
    handle.callBoxed(stack);
    for (const auto& value : stack) {
      if (value.isTensor()) {
        push(context, new at::Tensor(value.toTensor()));
      } else if (value.isTensorList()) {
        for (const at::Tensor& tensor : value.toTensorVector()) push(context, new at::Tensor(tensor));
      }
    }
  });
}

// Lets this thread allocate so many more bytes for tensors on the CPU; any number if negative. Others are counted, not limited.
void prospect_limit_memory(int64_t room) {
  static LimitedAllocator allocator;
  static std::once_flag once;
  std::call_once(once, [] { c10::SetCPUAllocator(&allocator, std::numeric_limits<uint8_t>::max()); });
  limit = room < 0 || room > kUnlimited - allocated ? kUnlimited : allocated + room;
}

// Clamps with a special backward rule (see Rectifier).
int prospect_rectify(const at::Tensor* input, double low, double high, int guided, void (*push)(void* context, at::Tensor* tensor),
                     void* context) {
  return guarded([&] { push(context, new at::Tensor(Rectifier::apply(*input, low, high, guided != 0))); });
}
}
