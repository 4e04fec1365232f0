#!/usr/bin/env bash
# Takes one safeguard at a time out of the code, and shows which test notices.
# Usage: tests/mutants/run.sh [--check] [NAME]...          (all of tests/mutants/*.mutant; exit status 1 if one survives)
# --check only says whether every mutation still applies.
#
# A mutant is a file: a line that says what it takes out, `file:`, and pairs of `match:` (a Perl regular expression that must match
# exactly once) and `by:` (what stands there instead; \n and $1 as in Perl). `tests:` names the binaries that should notice.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

case "${1:-}" in
  -h|--help) sed -n '2,4s/^# //p' "$0"; exit 0 ;;
esac
is_check=0
if [ "${1:-}" = --check ]; then is_check=1; shift; fi
names=("$@")
if [ ${#names[@]} -eq 0 ]; then
  for file in "$here"/*.mutant; do names+=("$(basename "$file" .mutant)"); done
fi
for name in "${names[@]}"; do
  [ -f "$here/$name.mutant" ] || { echo "run.sh: no mutant $name in tests/mutants" >&2; exit 2; }
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export CCACHE_BASEDIR=$scratch CCACHE_NOHASHDIR=1

field() { sed -n "s/^$2: //p" "$here/$1.mutant"; }
tests_of() { local tests; tests=$(field "$1" tests); echo "${tests:-tests-laws tests-graph}"; }

# build TARGET...: quietly; its output on failure.
build() { cmake --build "$scratch/build" --target "$@" >"$scratch/build.log" 2>&1 || { tail -n 30 "$scratch/build.log" >&2; return 1; }; }

# killer BINARY...: runs them up to the first failure and prints the test case that failed. 1 if all passed.
killer() {
  local binary status
  for binary in "$@"; do
    status=0
    timeout 180 "$scratch/build/bin/$binary" --abort-after=1 --no-colors=true >"$scratch/test.log" 2>&1 || status=$?
    [ "$status" -eq 0 ] && continue
    if [ "$status" -eq 124 ]; then echo "$binary: hangs"
    else echo "$binary: $(sed -n 's/^TEST CASE:  //p' "$scratch/test.log" | tail -n 1)"
    fi
    return 0
  done
  return 1
}

# mutate NAME FILE: replaces in FILE. 1 if a pattern does not match exactly once.
mutate() {
  perl -e '
    my ($mutant, $file) = @ARGV;
    open(my $m, "<", $mutant) or die; my @lines = <$m>;
    local $/; open(my $f, "<", $file) or die "$file: $!\n"; my $text = <$f>; close $f;
    for my $k (0 .. $#lines) {
      next unless $lines[$k] =~ /^match: (.*)$/;
      my $pattern = $1;
      my ($by) = ($lines[$k + 1] // "") =~ /^by: ?(.*)$/ or die "a match without its by\n";
      my $count = 0;
      $count++ while $text =~ /$pattern/g;
      die "matches $count times: $pattern\n" unless $count == 1;
      $text =~ s/$pattern/my $g = $1 \/\/ ""; (my $r = $by) =~ s(\\n)(\n)g; $r =~ s(\$1)($g)g; $r/e;
    }
    open($f, ">", $file) or die; print $f $text;' "$here/$1.mutant" "$2"
}

if [ "$is_check" -eq 1 ]; then
  bad=0
  for name in "${names[@]}"; do
    cp "$root/$(field "$name" file)" "$scratch/mutated"
    mutate "$name" "$scratch/mutated" 2>"$scratch/why" || { echo "$name does not apply: $(cat "$scratch/why")"; bad=1; }
  done
  [ "$bad" -eq 1 ] || echo "${#names[@]} mutants apply"
  exit "$bad"
fi

tar -C "$root" --exclude=./build --exclude=./runs --exclude=./.git -cf - . | tar -C "$scratch" -xf -
read -ra binaries <<<"$(for name in "${names[@]}"; do tests_of "$name"; done | tr ' ' '\n' | sort -u | tr '\n' ' ')"
echo "Building ${binaries[*]} in $scratch"
cmake -S "$scratch" -B "$scratch/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DPIPESTILL_WITH_TORCH=OFF -DPIPESTILL_BUILD_APP=OFF \
  -DPIPESTILL_BUILD_BENCH=OFF -DPIPESTILL_BUILD_EXAMPLES=OFF >"$scratch/build.log" 2>&1 || { tail -n 30 "$scratch/build.log" >&2; exit 2; }
build "${binaries[@]}"
if failed=$(killer "${binaries[@]}"); then
  echo "run.sh: the code fails without any mutation: $failed" >&2
  exit 2
fi

bad=0
for name in "${names[@]}"; do
  file=$(field "$name" file)
  cp -p "$scratch/$file" "$scratch/original"
  read -ra tests <<<"$(tests_of "$name")"
  if ! mutate "$name" "$scratch/$file" 2>"$scratch/why"; then
    verdict="DOES NOT APPLY: $(cat "$scratch/why")"
    bad=1
  elif ! build "${tests[@]}"; then
    verdict="DOES NOT COMPILE"
    bad=1
  elif ! verdict=$(killer "${tests[@]}"); then
    verdict="SURVIVES"
    bad=1
  fi
  printf '%-32s %s\n' "$name" "$verdict"
  cp "$scratch/original" "$scratch/$file"  # with a new time, so that it is compiled again
done
exit "$bad"
