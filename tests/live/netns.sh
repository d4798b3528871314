# netns.sh - three network namespaces in a row: client - gateway - server. A library for sh: set live to this folder
# and source it.
#
#   net_possible                      can this machine do it? If not, net_reason says why
#   net_up                            make the namespaces; whatever ends the script, net_down undoes all of it
#   net_exec NS COMMAND...            run a command there, for short ones (NS is client, gateway, server, far or second)
#   net_run NAME NS SECONDS COMMAND.. the same bounded in time, output in $net_dir/NAME.out and NAME.err
#   net_start NAME NS COMMAND...      start a process there
#   net_stop NAME [SIGNAL]            end it, and return its exit code
#   net_wait NAME SECONDS             wait until it ends by itself, and return its exit code
#   net_wait_line NAME TEXT SECONDS   wait until its output has this text
#   net_wait_port NS PORT SECONDS     wait until somebody listens there; makes no connection
#   net_address NS ADDRESS...         give a namespace more addresses (IPv4 or IPv6)
#   net_queue_on [OPTION...]          NFQUEUE rules for port 25, with options such as --queue-bypass
#   net_queue_off                     take them out
#   net_past ADDRESS...               packets from and to these do not see the queue
#   net_invalid [past]                print how many packets conntrack called INVALID, and were dropped (of those)
#   net_loss before|after PROBABILITY [ADDRESS]
#                                     lose packets of port 25 at random, before or after the filter; 0 ends it. Only of
#                                     this client, where one is named
#   net_twice PROBABILITY             both ends send packets of port 25 twice at random; 0 ends it
#   net_mtu client|server BYTES       MTU of that link, at both its ends
#   net_far                           one more namespace, far: a client behind client, IPv4 only, its link wide
#   net_second                        one more gateway, second, beside the first, IPv4 only; nothing goes that way yet
#   net_change second|gateway         from here on all packets between client and server go that way
#
# Everything lives in $net_dir, a temporary folder, and in namespaces whose names carry this process's id. Offloads are
# as the kernel makes them, so packets cross the gateway as aggregates.
# shellcheck shell=sh disable=SC2034

net_client=10.1.1.2
net_server=10.2.2.25
net_client6=2001:db8:1::2
net_server6=2001:db8:2::25
net_id=postern-$$
net_dir=
net_reason=
net_ipv6=

net_possible() {
    if [ "$(id -u)" -ne 0 ]; then
        net_reason="not root"
        return 1
    fi
    for net_tool in ip iptables python3 timeout; do
        command -v "$net_tool" >/dev/null || { net_reason="no $net_tool here"; return 1; }
    done
    if ! ip netns add "$net_id-probe" 2>/dev/null; then
        net_reason="network namespaces are not permitted here"
        return 1
    fi
    if ! ip netns exec "$net_id-probe" true 2>/dev/null; then
        net_reason="network namespaces cannot be entered here"
    elif ! ip netns exec "$net_id-probe" iptables -w -A FORWARD -p tcp --dport 25 -j NFQUEUE --queue-num 0 2>/dev/null; then
        net_reason="the kernel has no NFQUEUE target"
    elif ! ip netns exec "$net_id-probe" iptables -w -A FORWARD -m conntrack --ctstate INVALID -j DROP 2>/dev/null; then
        net_reason="the kernel has no conntrack match"
    fi
    ip netns del "$net_id-probe" 2>/dev/null
    [ -z "$net_reason" ]
}

net_exec() {
    net_where=$1
    shift
    ip netns exec "$net_id-$net_where" "$@"
}

net_up() {
    trap net_down EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 141' PIPE
    trap 'exit 143' TERM
    net_dir=$(mktemp -d "${TMPDIR:-/tmp}/$net_id.XXXXXX")
    chmod 755 "$net_dir"
    mkdir "$net_dir/pids"

    for net_where in client gateway server; do
        ip netns add "$net_id-$net_where"
        net_exec "$net_where" ip link set lo up
        # No duplicate address detection: addresses are there at once.
        net_exec "$net_where" sh -c 'cd /proc/sys/net/ipv6/conf 2>/dev/null || exit 0
            for i in all default; do echo 0 >$i/accept_dad; echo 0 >$i/dad_transmits; echo 0 >$i/accept_ra; done'
    done
    if net_exec gateway test -d /proc/sys/net/ipv6 && command -v ip6tables >/dev/null &&
        net_exec gateway ip6tables -w -L -n >/dev/null 2>&1; then
        net_ipv6=yes
    fi
    net_link client 10.1.1 2001:db8:1 2 2
    net_link server 10.2.2 2001:db8:2 25 25
    net_exec gateway sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward
        [ ! -d /proc/sys/net/ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
    # First of all rules: what conntrack calls INVALID does not cross, as on a gateway that is well kept.
    net_tables -A FORWARD -m conntrack --ctstate INVALID -j DROP
}

# net_link NS IPV4-PREFIX IPV6-PREFIX HOST4 HOST6: a link from gateway to NS, the gateway is host 1 on it.
net_link() {
    ip link add "to-$1" netns "$net_id-gateway" type veth peer name eth0 netns "$net_id-$1"
    net_exec gateway ip address add "$2.1/24" dev "to-$1"
    net_exec "$1" ip address add "$2.$4/24" dev eth0
    if [ -n "$net_ipv6" ]; then
        net_exec gateway ip address add "$3::1/64" dev "to-$1" nodad
        net_exec "$1" ip address add "$3::$5/64" dev eth0 nodad
    fi
    net_exec gateway ip link set "to-$1" up
    net_exec "$1" ip link set eth0 up
    net_exec "$1" ip route add default via "$2.1"
    if [ -n "$net_ipv6" ]; then
        net_exec "$1" ip -6 route add default via "$3::1"
    fi
    # The kernel takes a moment to call a new link up; until then IPv6 may not answer.
    net_left=150
    until net_exec "$1" ip -o link show dev eth0 | grep -q 'state UP' || [ $net_left -le 0 ]; do
        net_left=$((net_left - 1))
        sleep 0.02
    done
}

net_address() {
    net_where=$1
    shift
    for net_one in "$@"; do
        case $net_one in
        *:*) [ -z "$net_ipv6" ] || net_exec "$net_where" ip address add "$net_one/64" dev eth0 nodad ;;
        *) net_exec "$net_where" ip address add "$net_one/24" dev eth0 ;;
        esac
    done
}

# The same rule for both families, in the gateway.
net_tables() {
    net_exec gateway iptables -w "$@"
    [ -z "$net_ipv6" ] || net_exec gateway ip6tables -w "$@"
}

net_queue_on() {
    net_tables -A FORWARD -p tcp --dport 25 -j NFQUEUE --queue-num 0 "$@"
    net_tables -A FORWARD -p tcp --sport 25 -j NFQUEUE --queue-num 1 "$@"
    net_queue_options=$*
}

net_queue_off() {
    # shellcheck disable=SC2086
    net_tables -D FORWARD -p tcp --dport 25 -j NFQUEUE --queue-num 0 $net_queue_options
    # shellcheck disable=SC2086
    net_tables -D FORWARD -p tcp --sport 25 -j NFQUEUE --queue-num 1 $net_queue_options
}

net_past() {
    for net_one in "$@"; do
        net_table=iptables
        case $net_one in *:*) net_table=ip6tables ;; esac
        [ $net_table = iptables ] || [ -n "$net_ipv6" ] || continue
        for net_side in -s -d; do
            net_exec gateway $net_table -w -I FORWARD $net_side "$net_one" -j ACCEPT
            net_exec gateway $net_table -w -I FORWARD $net_side "$net_one" -m conntrack --ctstate INVALID \
                -m comment --comment past -j DROP
        done
    done
}

# Those that the rules of `postern setup` drop come no further.
net_invalid() {
    {
        net_tables -L FORWARD -vnx
        [ -n "${1:-}" ] || net_tables -t mangle -L POSTERN-QUEUE -vnx 2>/dev/null || :
    } | awk -v past="${1:-}" '
        /INVALID/ && (past != "") == (index($0, "/* past */") > 0) { n += $1 } END { print n + 0 }'
}

net_loss() {
    case $1 in
    before) net_places="gateway" ;; # on arrival, before conntrack sees it
    after) net_places="client server" ;;
    esac
    for net_where in $net_places; do
        for net_one in iptables ${net_ipv6:+ip6tables}; do
            net_exec "$net_where" "$net_one" -w -t raw -F PREROUTING
            [ "$2" != 0 ] || continue
            case $net_one${3:-} in ip6tables*.*) continue ;; iptables*:*) continue ;; esac
            for net_side in --dport --sport; do
                net_end=-s
                [ $net_side = --dport ] || net_end=-d
                # shellcheck disable=SC2086
                net_exec "$net_where" "$net_one" -w -t raw -A PREROUTING -p tcp $net_side 25 ${3:+$net_end $3} \
                    -m statistic --mode random --probability "$2" -j DROP
            done
        done
    done
}

# The second copy is made where the packet is: the gateway sees both, as after a loop or a lost acknowledgment of the link.
net_twice() {
    for net_where in client server; do
        net_gate=10.1.1.1 net_gate6=2001:db8:1::1
        [ $net_where = client ] || net_gate=10.2.2.1 net_gate6=2001:db8:2::1
        for net_one in iptables ${net_ipv6:+ip6tables}; do
            net_exec "$net_where" "$net_one" -w -t mangle -F OUTPUT
            [ "$1" != 0 ] || continue
            [ "$net_one" = iptables ] || net_gate=$net_gate6
            for net_side in --dport --sport; do
                net_exec "$net_where" "$net_one" -w -t mangle -A OUTPUT -p tcp $net_side 25 \
                    -m statistic --mode random --probability "$1" -j TEE --gateway "$net_gate"
            done
        done
    done
}

net_far() {
    ip netns add "$net_id-far"
    net_exec far ip link set lo up
    ip link add to-far netns "$net_id-client" type veth peer name eth0 netns "$net_id-far"
    net_exec client ip address add 10.3.3.1/24 dev to-far
    net_exec far ip address add 10.3.3.2/24 dev eth0
    net_exec client ip link set to-far up
    net_exec far ip link set eth0 up
    net_exec far ip route add default via 10.3.3.1
    net_exec client sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    net_exec gateway ip route add 10.3.3.0/24 via $net_client
}

net_second() {
    ip netns add "$net_id-second"
    net_exec second ip link set lo up
    for net_end in client server; do
        net_one=4
        [ $net_end = client ] || net_one=5
        ip link add "to-$net_end" netns "$net_id-second" type veth peer name eth1 netns "$net_id-$net_end"
        net_exec second ip address add "10.$net_one.$net_one.1/24" dev "to-$net_end"
        net_exec $net_end ip address add "10.$net_one.$net_one.2/24" dev eth1
        net_exec second ip link set "to-$net_end" up
        net_exec $net_end ip link set eth1 up
    done
    net_exec second ip route add 10.1.1.0/24 via 10.4.4.2
    net_exec second ip route add 10.2.2.0/24 via 10.5.5.2
    net_exec second sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    net_exec second iptables -w -A FORWARD -m conntrack --ctstate INVALID -j DROP
}

# A route to the other side's addresses, narrower than the one that there is.
net_change() {
    net_verb=replace
    [ "$1" = second ] || net_verb=del
    net_exec client ip route $net_verb 10.2.2.0/25 via 10.4.4.1 src $net_client
    net_exec server ip route $net_verb 10.1.1.0/25 via 10.5.5.1 src $net_server
}

net_mtu() {
    net_exec gateway ip link set "to-$1" mtu "$2"
    net_exec "$1" ip link set eth0 mtu "$2"
}

# ---- processes ---------------------------------------------------------------------------------
# Each has its id in a file, so that net_down finds it whatever shell started it.

net_start() {
    net_name=$1 net_where=$2
    shift 2
    ip netns exec "$net_id-$net_where" "$@" >"$net_dir/$net_name.out" 2>"$net_dir/$net_name.err" </dev/null &
    echo $! >"$net_dir/pids/$net_name"
}

net_wait() {
    net_pid=$(cat "$net_dir/pids/$1")
    net_left=$(($2 * 50))
    while ! net_ended "$net_pid"; do
        if [ $net_left -le 0 ]; then
            kill -KILL "$net_pid" 2>/dev/null || :
            break
        fi
        net_left=$((net_left - 1))
        sleep 0.02
    done
    net_status=0
    wait "$net_pid" || net_status=$?
    rm -f "$net_dir/pids/$1"
    return $net_status
}

net_stop() {
    kill "-${2:-TERM}" "$(cat "$net_dir/pids/$1")" 2>/dev/null || :
    net_wait "$1" 5
}

net_run() {
    net_name=$1 net_where=$2 net_seconds=$3
    shift 3
    # In the background and waited for: a shell acts on a signal at once only then.
    net_start "$net_name" "$net_where" timeout -k 1 "$net_seconds" "$@"
    net_status=0
    wait "$(cat "$net_dir/pids/$net_name")" || net_status=$?
    rm -f "$net_dir/pids/$net_name"
    return $net_status
}

# A process that is no more, or only waits to be asked for its exit code.
net_ended() {
    case $(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) in
    '' | Z | X) return 0 ;;
    esac
    return 1
}

net_wait_line() {
    net_left=$(($3 * 50))
    while ! grep -qs -e "$2" "$net_dir/$1.out" "$net_dir/$1.err"; do
        [ $net_left -gt 0 ] || return 1
        # Once it has ended, look one last time.
        if net_ended "$(cat "$net_dir/pids/$1")"; then net_left=1; fi
        net_left=$((net_left - 1))
        sleep 0.02
    done
}

net_wait_port() {
    net_hex=$(printf ':%04X ' "$2")
    net_left=$(($3 * 50))
    # Columns of /proc/net/tcp: number, local address:port, remote address:port, state (0A listens).
    until net_exec "$1" cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q "${net_hex}[0-9A-F]*:0000 0A "; do
        [ $net_left -gt 0 ] || return 1
        net_left=$((net_left - 1))
        sleep 0.02
    done
}

net_down() {
    trap '' HUP INT PIPE TERM
    trap - EXIT
    [ -n "$net_dir" ] || return 0
    for net_signal in TERM KILL; do
        net_left=100
        for net_one in "$net_dir"/pids/*; do
            [ -f "$net_one" ] || continue
            net_pid=$(cat "$net_one")
            [ -z "$net_pid" ] || net_ended "$net_pid" || kill "-$net_signal" "$net_pid" 2>/dev/null || :
        done
        for net_one in "$net_dir"/pids/*; do
            [ -f "$net_one" ] || continue
            while [ $net_left -gt 0 ] && ! net_ended "$(cat "$net_one")"; do
                net_left=$((net_left - 1))
                sleep 0.02
            done
        done
    done
    # Nobody else is in there: what is left was started by what we started.
    for net_where in far client gateway second server; do
        for net_pid in $(ip netns pids "$net_id-$net_where" 2>/dev/null); do
            kill -KILL "$net_pid" 2>/dev/null || :
        done
        ip netns del "$net_id-$net_where" 2>/dev/null || :
    done
    rm -rf "$net_dir"
}
