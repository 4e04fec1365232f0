#pragma once
// What every scenario needs: medians, cases measured in turn, the machine's facts, and how much others used it meanwhile.
#include <boost/json/object.hpp>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "graph/base/error.hpp"

namespace pipestill::bench {

struct Spread {
  double min = 0, median = 0, max = 0;
};
/// `values` is not empty. The median of an even number is the mean of the middle two.
[[nodiscard]] Spread spread(std::vector<double> values);
[[nodiscard]] boost::json::object to_json(const Spread& spread);
/// "median (min to max)" with so many digits behind the point.
[[nodiscard]] std::string to_text(const Spread& spread, int digits);

/// "met" or "missed".
[[nodiscard]] const char* verdict(double value, double goal);

/// One measurement of one case.
using Measure = std::function<Result<void>()>;
/// Every case once a repetition, each repetition beginning one case later than the one before (A B, B A, A B, ...): what drifts meanwhile,
/// and what going first is worth, comes to all alike. Ends at the first failure.
[[nodiscard]] Result<void> interleave(std::size_t repetitions, std::span<const Measure> cases);

/// Seconds by the wall clock, and of processor time in the whole process. The second is the one to compare on a machine that others use too.
struct Taken {
  double wall_s = 0, cpu_s = 0;
};
/// Since its making.
class Stopwatch {
 public:
  Stopwatch();
  [[nodiscard]] Taken taken() const;

 private:
  Taken begun_;
};
/// What a call of `f` takes: the mean over as many calls as fill `at_least_s` of wall clock, and one at least.
[[nodiscard]] Taken per_call(double at_least_s, const std::function<void()>& f);

/// Says it on stderr; the exit status.
[[nodiscard]] int refuse(const Error& error);

/// Measures, from its making on, how many processors were busy with other processes.
class ForeignLoad {
 public:
  ForeignLoad();
  /// Mean number of processors; 0 where the kernel does not tell.
  [[nodiscard]] double processors() const;

 private:
  double busy_s_, own_s_, wall_s_;
};

/// CPU, cores, compiler, libraries, and the foreign load of the measurement.
[[nodiscard]] boost::json::object context(const ForeignLoad& load);
[[nodiscard]] std::string context_line(const boost::json::object& context);

}  // namespace pipestill::bench
