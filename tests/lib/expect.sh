# What commands say and return, for tests in shell; sourced. The caller has set `work`, a directory, and prints its plan
# of $count tests at the end; $status is 1 once one has failed.
count=0 status=0

# what NAME CONDITION...: a command whose exit code decides.
what() {
    local name=$1
    shift
    count=$((count + 1))
    if "$@" >"$work/out" 2>&1 </dev/null; then echo "ok $count - $name"; else
        echo "not ok $count - $name"
        sed 's/^/#   /' "$work/out" | head -10
        status=1
    fi
}

# expect NAME EXIT_CODE PATTERN COMMAND...: the exit code, one line on standard error, and what it says (grep -E).
expect() {
    local name=$1 code=$2 pattern=$3 got lines
    shift 3
    "$@" >"$work/out" 2>"$work/err" </dev/null
    got=$?
    lines=$(wc -l <"$work/err")
    count=$((count + 1))
    if [ "$got" -eq "$code" ] && { [ -z "$pattern" ] || grep -qE -- "$pattern" "$work/err"; } && { [ "$code" -eq 0 ] || [ "$lines" -eq 1 ]; }; then
        echo "ok $count - $name"
    else
        echo "not ok $count - $name"
        echo "#   exit code $got (expected $code), $lines lines; expected: $pattern"
        sed 's/^/#   /' "$work/err" | head -5
        status=1
    fi
}

# wait_until SECONDS COMMAND...: until the command says yes, but no longer; returns whether it did.
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.02
    done
}
