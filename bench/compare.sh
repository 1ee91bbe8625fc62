#!/bin/sh
# Compares the Go benchmarks of a base revision with those of the working tree, in rounds in which both take their turn.
# `make bench-compare` runs it, with the servers that it needs.
#
#   BASE    the base revision
#   BENCH   a regular expression: which benchmarks; without it all
#   COUNT   how many rounds; without it 6
set -eu
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
cleanup() {
	git worktree remove --force "$work/base" 2>/dev/null || true # there is none when the revision is unknown
	rm -rf "$work"
	git worktree prune
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

git worktree add --quiet --detach "$work/base" "$BASE"
mkdir -p .emporium
ln -s "$root/.emporium" "$work/base/.emporium" # so that both use the servers that already run

folder() {
	if [ "$1" = base ]; then echo "$work/base"; else echo "$root"; fi
}

# packages lists the folders below the current one that hold benchmarks.
packages() {
	git grep -l --untracked '^func Benchmark' -- '*_test.go' | xargs -r -n 1 dirname | sort -u
}

binary() {
	echo "$work/$1-$(echo "$2" | tr / -).test"
}

for side in base tree; do
	: >"$work/$side.txt"
	cd "$(folder $side)"
	for package in $(packages); do
		echo "building $side: $package" >&2
		go test -c -o "$(binary $side "$package")" "./$package"
	done
done

failed=
for round in $(seq "${COUNT:-6}"); do
	for side in base tree; do
		echo "round $round: $side" >&2
		cd "$(folder $side)"
		for package in $(packages); do
			cd "$(folder $side)/$package"
			"$(binary $side "$package")" -test.run '^$' -test.bench "${BENCH:-.}" -test.benchmem -test.timeout 30m \
				>"$work/out" || { failed=1; echo "$package of the $side has failed:"; cat "$work/out"; } >&2
			cat "$work/out" >>"$work/$side.txt"
		done
	done
done
cd "$root"

names() {
	sed -n 's/^\(Benchmark[^[:space:]]*\)[[:space:]].*/\1/p' "$work/$1.txt" | sort -u
}
names base >"$work/base.names"
names tree >"$work/tree.names"
comm -13 "$work/base.names" "$work/tree.names" | sed "s|.*|$BASE has no & to compare with|"

go tool benchstat "$BASE=$work/base.txt" "working tree=$work/tree.txt"
[ -z "$failed" ] || { echo "benchmarks have failed: see above" >&2; exit 1; }
