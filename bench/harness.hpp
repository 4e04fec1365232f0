#pragma once
// What every scenario needs: medians, the machine's facts, and how much others used it meanwhile.
#include <boost/json/object.hpp>
#include <string>
#include <vector>

namespace pipestill::bench {

struct Spread {
  double min = 0, median = 0, max = 0;
};
/// `values` is not empty. The median of an even number is the mean of the middle two.
[[nodiscard]] Spread spread(std::vector<double> values);
[[nodiscard]] boost::json::object to_json(const Spread& spread);

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
