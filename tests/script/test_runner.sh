#!/bin/bash
# The runner sees what is wrong: each script in wrong/ must fail, and say what its first line says.
# usage: test_runner.sh PKT
cd "$(dirname "$0")/wrong" || exit 1
failed=0
count=0

for script in *.pkt; do
	want=$(sed -n '1s,^// ,,p' "$script")
	count=$((count + 1))
	if said=$("$1" "$script" 2>&1); then
		echo "$script: passed, which it must not"
		failed=1
	elif [[ $said != *"$script$want"* ]]; then
		printf '%s: did not say "%s" but\n%s\n' "$script" "$want" "$said"
		failed=1
	fi
done
if [ "$count" -lt 10 ]; then
	echo "only $count scripts found"
	failed=1
fi
exit $failed
