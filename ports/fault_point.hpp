#pragma once
// Places at which a test may end the process or make the disk fail, by name.
#include <string_view>

namespace pipestill {

/// What is to happen here: 0, and all goes on; or an errno with which the operation that follows is to fail. Does not return where the process
/// is to end (SIGKILL, as a crash or a power cut would end it). Costs a look at a flag where the environment asks for nothing. Thread-safe.
///
/// PIPESTILL_FAULT=NAME[:N][=kill|EIO|ENOSPC|EROFS|EDQUOT]: at the Nth passage (from 1, default 1) of the point NAME, or of any point where NAME is
/// `any`, the process ends (`kill`, the default), or from there on every passage of that point fails so: a disk that is full stays full.
/// PIPESTILL_FAULT_TRACE=FILE: the names of the points passed are appended to it, a line each.
/// A variable that cannot be read so ends the process with exit status 2 at the first point: a test that asks for nothing must not pass.
int fault_point(std::string_view name);
/// Whether PIPESTILL_FAULT or PIPESTILL_FAULT_TRACE is set.
[[nodiscard]] bool plans_faults();
/// Whether PIPESTILL_FAULT_TRACE is set.
[[nodiscard]] bool traces_points();
/// A line of its own in the trace: what a test wants to know beside the points. Ends and fails nothing.
void trace_fact(std::string_view fact);
/// The next point reads the environment again.
void forget_fault_plan();

}  // namespace pipestill
