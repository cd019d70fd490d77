#!/bin/sh
# Static analysis: cppcheck over everything, clang-tidy's analyzer over the sources (minutes).
set -eu
cd "$(dirname "$0")/.."
flags="-D_GNU_SOURCE -Isrc -Ibuild/gen -DISOBAR_VERSION=\"lint\""
make --no-print-directory build/gen/wis2/hierarchy_data.h build/gen/admin/overview.h
cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 \
	--suppress=missingIncludeSystem --suppress=nullPointerArithmetic --library=posix \
	-j "$(nproc)" -Isrc -Ibuild/gen -D_GNU_SOURCE -DISOBAR_VERSION='"lint"' src
# shellcheck disable=SC2086
find src -name '*.c' ! -name '*_test.c' -print0 | xargs -0 -P "$(nproc)" -n 8 \
	clang-tidy --quiet --warnings-as-errors='*' \
	--checks='-*,clang-analyzer-*,bugprone-*,-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier,-bugprone-assignment-in-if-condition,-bugprone-narrowing-conversions,-bugprone-branch-clone,-bugprone-macro-parentheses,-bugprone-sizeof-expression,-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling' \
	-- -std=c11 $flags
echo "lint: nothing found"
