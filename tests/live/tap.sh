# tap.sh - a test's lines of TAP. A library for sh: set live to this folder and source it; print "1..$number" at the end,
# and exit with $failed.
# shellcheck shell=sh disable=SC2034

number=0
failed=0
result() { # result STATUS NAME [FILE]: one line of TAP; of a failure, what the file says
    number=$((number + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $number - $2"
    else
        echo "not ok $number - $2"
        failed=1
        [ -z "${3:-}" ] || tail -n 25 "$3" | sed 's/^/#   /'
    fi
}
skip() { # skip NAME REASON
    number=$((number + 1))
    echo "ok $number - $1 # SKIP $2"
}
results() { # results FILE: its lines of TAP, which have no numbers, with numbers
    while IFS= read -r line; do
        case $line in
        'ok - '*) number=$((number + 1)) && printf 'ok %d - %s\n' $number "${line#ok - }" ;;
        'not ok - '*) number=$((number + 1)) failed=1 && printf 'not ok %d - %s\n' $number "${line#not ok - }" ;;
        *) printf '%s\n' "$line" ;; # echo would take a backslash for more than that
        esac
    done <"$1"
}
