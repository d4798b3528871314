# Completion for postern in bash.
_postern() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words=
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        words=$(postern --help | sed -n 's/^    postern \([a-z-]*\) .*/\1/p')
        mapfile -t COMPREPLY < <(compgen -W "$words --help --version" -- "$cur")
        return
    fi
    case $prev in
    -r | --rules | -e | --events | -w | --control | --state)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    --format)
        words="dialogue table json none"
        [ "${COMP_WORDS[1]}" = greylist ] && words="postgrey spamd postern"
        ;;
    greylist) words="list show allow deny forget import export stats" ;;
    allow | deny) words="client from to" ;;
    --variant) words="legacy nft" ;;
    --user) words=$(compgen -u) ;;
    --control-group) words=$(compgen -g) ;;
    --interface) words=$(cd /sys/class/net && echo *) ;;
    *)
        case $cur in
        -*)
            # The options are those that --help names for this command.
            words=$(postern --help | sed -n "s/^    postern ${COMP_WORDS[1]} //p" | grep -oE -- '--?[a-z-]+')
            ;;
        *)
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            return
            ;;
        esac
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -o filenames -F _postern postern
