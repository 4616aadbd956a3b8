# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_registry_proxy_global_optspecs
    string join \n c/config= l/listen= h/help V/version
end

function __fish_registry_proxy_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_registry_proxy_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_registry_proxy_using_subcommand
    set -l cmd (__fish_registry_proxy_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c registry-proxy -n "__fish_registry_proxy_needs_command" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_needs_command" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_needs_command" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_needs_command" -s V -l version -d 'Print version'
complete -c registry-proxy -n "__fish_registry_proxy_needs_command" -f -a "serve" -d 'Serve (the default)'
complete -c registry-proxy -n "__fish_registry_proxy_needs_command" -f -a "check" -d 'Print the effective configuration, secrets masked, and warn of dangerous settings'
complete -c registry-proxy -n "__fish_registry_proxy_needs_command" -f -a "explain" -d 'Explain what a pull of an image would do and why, without asking any registry'
complete -c registry-proxy -n "__fish_registry_proxy_needs_command" -f -a "warm" -d 'Fetch images into the cache before anybody pulls them'
complete -c registry-proxy -n "__fish_registry_proxy_needs_command" -f -a "client" -d 'Point a client at the proxy: print, write or undo its configuration'
complete -c registry-proxy -n "__fish_registry_proxy_needs_command" -f -a "doctor" -d 'Look for what keeps pulls from working, and say what to do about it'
complete -c registry-proxy -n "__fish_registry_proxy_needs_command" -f -a "health" -d 'Ask the server at the configured address whether it runs: exit status 0 or 1. For HEALTHCHECK'
complete -c registry-proxy -n "__fish_registry_proxy_needs_command" -f -a "credential-provider" -d 'Answer kubelet\'s request for a login on standard input with the pod\'s service account token'
complete -c registry-proxy -n "__fish_registry_proxy_needs_command" -f -a "login" -d 'Log in at a proxy by the browser, and keep the login for docker, podman and others'
complete -c registry-proxy -n "__fish_registry_proxy_needs_command" -f -a "logout" -d 'Forget a login'
complete -c registry-proxy -n "__fish_registry_proxy_needs_command" -f -a "completions" -d 'Print what a shell completes this command line with'
complete -c registry-proxy -n "__fish_registry_proxy_needs_command" -f -a "outcomes" -d 'Print the table of outcomes and their reasons, as Markdown'
complete -c registry-proxy -n "__fish_registry_proxy_needs_command" -f -a "cache" -d 'Inspect, purge or verify the cache; carry images out of it and into it'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand serve" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand serve" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand serve" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand check" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand check" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand check" -l json -d 'Print JSON: what differs from the defaults, what `auto` became, and the warnings'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand check" -l all -d 'With --json: every key, defaults included'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand check" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand explain" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand explain" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand explain" -l json -d 'Print JSON'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand explain" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand warm" -s f -l file -d 'A list: an image in each line, a JSON array of images, or what `kubectl get pods -o json` prints' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand warm" -l compose -d 'A compose file' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand warm" -l platform -d 'Platforms of each image, such as linux/amd64,linux/arm64, or `all`. The default is Linux on this machine\'s architecture, as a pull on this machine would get it' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand warm" -l jobs -d 'Images that are fetched at once' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand warm" -l newest -d 'How many tags a pattern such as `alpine:3.*` means: those with the highest version numbers' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand warm" -l wait -d 'How long a manifest or layer waits for a registry that limits the rate of requests: 0s, 10m, 6h' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand warm" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand warm" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand warm" -l referrers -d 'Signatures, attestations and SBOMs, too'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand warm" -l json -d 'Print one JSON value per line'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand warm" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand client" -l url -d 'How the client reaches the proxy; without it `public_url`, or the address to listen on' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand client" -l registry -d 'A registry to pull from through the proxy; may be repeated. Without it every upstream' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand client" -l root -d 'The directory that is the client\'s /, as a container sees its host' -r -f -a "(__fish_complete_directories)"
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand client" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand client" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand client" -l rootless -d 'The configuration of the user (HOME), for docker, containerd, podman and buildkit without root'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand client" -l print -d 'Print what would be written (the default)'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand client" -l write -d 'Add it to the client\'s files, and keep them as they were beside them'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand client" -l undo -d 'Put back the files as they were'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand client" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand doctor" -l image -d 'Also fetch the manifest and the config of this image, past the cache: login, token server and storage' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand doctor" -l client -d 'Also pull an image with this client of the machine, and say whether it came through the running server' -r -f -a "docker\t'docker pull'
podman\t'podman pull'
crictl\t'crictl pull, of containerd or CRI-O'
nerdctl\t'nerdctl pull'"
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand doctor" -l upstream -d 'Only this upstream; may be repeated' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand doctor" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand doctor" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand doctor" -l json -d 'Print JSON: a list of findings with severity, subject, what and next'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand health" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand health" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand health" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand credential-provider" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand credential-provider" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand credential-provider" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand login" -l issuer -d 'The OpenID Connect issuer that the proxy trusts. Needed once; later logins at this proxy know it' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand login" -l client-id -d 'As what registry-proxy is registered there: a public client with the device flow' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand login" -l scope -d 'What the issuer is asked for, separated by spaces. Default: `openid offline_access`, an ID token and its renewal' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand login" -l audience -d 'Whom the token must be for, if that is not the client id' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand login" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand login" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand login" -l configure-docker -d 'Also write the line into Docker\'s config.json that makes clients ask for this login'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand login" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand logout" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand logout" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand logout" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand completions" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand completions" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand outcomes" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand outcomes" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand outcomes" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and not __fish_seen_subcommand_from stat list purge held release pin unpin export import verify" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and not __fish_seen_subcommand_from stat list purge held release pin unpin export import verify" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and not __fish_seen_subcommand_from stat list purge held release pin unpin export import verify" -l json -d 'Print one JSON value per line'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and not __fish_seen_subcommand_from stat list purge held release pin unpin export import verify" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and not __fish_seen_subcommand_from stat list purge held release pin unpin export import verify" -f -a "stat" -d 'Count blobs, manifests, tags and bytes; show the oldest entry and the downloads in progress'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and not __fish_seen_subcommand_from stat list purge held release pin unpin export import verify" -f -a "list" -d 'List images by name, with digest, age and how many of their layers are cached'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and not __fish_seen_subcommand_from stat list purge held release pin unpin export import verify" -f -a "purge" -d 'Delete images, so that the next pull fetches them again. Does not prompt'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and not __fish_seen_subcommand_from stat list purge held release pin unpin export import verify" -f -a "held" -d 'List the tags that clients get otherwise than their registries have them: held, new or pinned'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and not __fish_seen_subcommand_from stat list purge held release pin unpin export import verify" -f -a "release" -d 'Let clients have what held tags (`hold` in [[cache.tags]]) have moved to, now and not later'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and not __fish_seen_subcommand_from stat list purge held release pin unpin export import verify" -f -a "pin" -d 'Pin a held tag to a digest: clients get that, whatever the registry says, until `unpin`'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and not __fish_seen_subcommand_from stat list purge held release pin unpin export import verify" -f -a "unpin" -d 'Take a pin back'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and not __fish_seen_subcommand_from stat list purge held release pin unpin export import verify" -f -a "export" -d 'Write images of the cache into one file, to carry them to a place without a network. Other tools read it, too'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and not __fish_seen_subcommand_from stat list purge held release pin unpin export import verify" -f -a "import" -d 'Take images from a file into the cache: what `export` wrote, and any other OCI image layout'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and not __fish_seen_subcommand_from stat list purge held release pin unpin export import verify" -f -a "verify" -d 'Read everything, check it against its digest and delete what does not match. Exit status 1 if anything did not match or could not be read; the unreadable is kept'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from stat" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from stat" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from stat" -l json -d 'Print one JSON value per line'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from stat" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from list" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from list" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from list" -l json -d 'Print one JSON value per line'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from purge" -l digest -d 'One manifest or layer: `sha256:…`' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from purge" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from purge" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from purge" -l all -d 'Everything'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from purge" -s n -l dry-run -d 'Only show what would be deleted'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from purge" -l json -d 'Print one JSON value per line'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from purge" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from held" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from held" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from held" -l json -d 'Print one JSON value per line'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from held" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from release" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from release" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from release" -l json -d 'Print one JSON value per line'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from release" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from pin" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from pin" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from pin" -l json -d 'Print one JSON value per line'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from pin" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from unpin" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from unpin" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from unpin" -l json -d 'Print one JSON value per line'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from unpin" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from export" -s o -l output -d 'The file, an OCI image layout in a tar; `-` for standard output' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from export" -l platform -d 'Only these platforms, `linux/amd64,linux/arm64`, and all of them. Default: those that are complete in the cache' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from export" -l since -d 'Leave out what this earlier bundle has. Can be given several times' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from export" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from export" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from export" -l json -d 'Print one JSON value per line'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from import" -l as -d 'The name of the image, where the bundle has none with a registry: `docker.io/library/alpine:3.20`' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from import" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from import" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from import" -l json -d 'Print one JSON value per line'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from verify" -s c -l config -d 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`' -r -F
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from verify" -s l -l listen -d 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port' -r
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from verify" -l json -d 'Print one JSON value per line'
complete -c registry-proxy -n "__fish_registry_proxy_using_subcommand cache; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help'
