
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'registry-proxy' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'registry-proxy'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'registry-proxy' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('serve', 'serve', [CompletionResultType]::ParameterValue, 'Serve (the default)')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Print the effective configuration, secrets masked, and warn of dangerous settings')
            [CompletionResult]::new('explain', 'explain', [CompletionResultType]::ParameterValue, 'Explain what a pull of an image would do and why, without asking any registry')
            [CompletionResult]::new('warm', 'warm', [CompletionResultType]::ParameterValue, 'Fetch images into the cache before anybody pulls them')
            [CompletionResult]::new('client', 'client', [CompletionResultType]::ParameterValue, 'Point a client at the proxy: print, write or undo its configuration')
            [CompletionResult]::new('doctor', 'doctor', [CompletionResultType]::ParameterValue, 'Look for what keeps pulls from working, and say what to do about it')
            [CompletionResult]::new('health', 'health', [CompletionResultType]::ParameterValue, 'Ask the server at the configured address whether it runs: exit status 0 or 1. For HEALTHCHECK')
            [CompletionResult]::new('credential-provider', 'credential-provider', [CompletionResultType]::ParameterValue, 'Answer kubelet''s request for a login on standard input with the pod''s service account token')
            [CompletionResult]::new('login', 'login', [CompletionResultType]::ParameterValue, 'Log in at a proxy by the browser, and keep the login for docker, podman and others')
            [CompletionResult]::new('logout', 'logout', [CompletionResultType]::ParameterValue, 'Forget a login')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print what a shell completes this command line with')
            [CompletionResult]::new('outcomes', 'outcomes', [CompletionResultType]::ParameterValue, 'Print the table of outcomes and their reasons, as Markdown')
            [CompletionResult]::new('cache', 'cache', [CompletionResultType]::ParameterValue, 'Inspect, purge or verify the cache; carry images out of it and into it')
            break
        }
        'registry-proxy;serve' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'registry-proxy;check' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: what differs from the defaults, what `auto` became, and the warnings')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'With --json: every key, defaults included')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'registry-proxy;explain' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'registry-proxy;warm' {
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'A list: an image in each line, a JSON array of images, or what `kubectl get pods -o json` prints')
            [CompletionResult]::new('--file', '--file', [CompletionResultType]::ParameterName, 'A list: an image in each line, a JSON array of images, or what `kubectl get pods -o json` prints')
            [CompletionResult]::new('--compose', '--compose', [CompletionResultType]::ParameterName, 'A compose file')
            [CompletionResult]::new('--platform', '--platform', [CompletionResultType]::ParameterName, 'Platforms of each image, such as linux/amd64,linux/arm64, or `all`. The default is Linux on this machine''s architecture, as a pull on this machine would get it')
            [CompletionResult]::new('--jobs', '--jobs', [CompletionResultType]::ParameterName, 'Images that are fetched at once')
            [CompletionResult]::new('--newest', '--newest', [CompletionResultType]::ParameterName, 'How many tags a pattern such as `alpine:3.*` means: those with the highest version numbers')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'How long a manifest or layer waits for a registry that limits the rate of requests: 0s, 10m, 6h')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--referrers', '--referrers', [CompletionResultType]::ParameterName, 'Signatures, attestations and SBOMs, too')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON value per line')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'registry-proxy;client' {
            [CompletionResult]::new('--url', '--url', [CompletionResultType]::ParameterName, 'How the client reaches the proxy; without it `public_url`, or the address to listen on')
            [CompletionResult]::new('--registry', '--registry', [CompletionResultType]::ParameterName, 'A registry to pull from through the proxy; may be repeated. Without it every upstream')
            [CompletionResult]::new('--root', '--root', [CompletionResultType]::ParameterName, 'The directory that is the client''s /, as a container sees its host')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--rootless', '--rootless', [CompletionResultType]::ParameterName, 'The configuration of the user (HOME), for docker, containerd, podman and buildkit without root')
            [CompletionResult]::new('--print', '--print', [CompletionResultType]::ParameterName, 'Print what would be written (the default)')
            [CompletionResult]::new('--write', '--write', [CompletionResultType]::ParameterName, 'Add it to the client''s files, and keep them as they were beside them')
            [CompletionResult]::new('--undo', '--undo', [CompletionResultType]::ParameterName, 'Put back the files as they were')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'registry-proxy;doctor' {
            [CompletionResult]::new('--image', '--image', [CompletionResultType]::ParameterName, 'Also fetch the manifest and the config of this image, past the cache: login, token server and storage')
            [CompletionResult]::new('--client', '--client', [CompletionResultType]::ParameterName, 'Also pull an image with this client of the machine, and say whether it came through the running server')
            [CompletionResult]::new('--upstream', '--upstream', [CompletionResultType]::ParameterName, 'Only this upstream; may be repeated')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: a list of findings with severity, subject, what and next')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'registry-proxy;health' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'registry-proxy;credential-provider' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'registry-proxy;login' {
            [CompletionResult]::new('--issuer', '--issuer', [CompletionResultType]::ParameterName, 'The OpenID Connect issuer that the proxy trusts. Needed once; later logins at this proxy know it')
            [CompletionResult]::new('--client-id', '--client-id', [CompletionResultType]::ParameterName, 'As what registry-proxy is registered there: a public client with the device flow')
            [CompletionResult]::new('--scope', '--scope', [CompletionResultType]::ParameterName, 'What the issuer is asked for, separated by spaces. Default: `openid offline_access`, an ID token and its renewal')
            [CompletionResult]::new('--audience', '--audience', [CompletionResultType]::ParameterName, 'Whom the token must be for, if that is not the client id')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--configure-docker', '--configure-docker', [CompletionResultType]::ParameterName, 'Also write the line into Docker''s config.json that makes clients ask for this login')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'registry-proxy;logout' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'registry-proxy;completions' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'registry-proxy;outcomes' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'registry-proxy;cache' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON value per line')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('stat', 'stat', [CompletionResultType]::ParameterValue, 'Count blobs, manifests, tags and bytes; show the oldest entry and the downloads in progress')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List images by name, with digest, age and how many of their layers are cached')
            [CompletionResult]::new('purge', 'purge', [CompletionResultType]::ParameterValue, 'Delete images, so that the next pull fetches them again. Does not prompt')
            [CompletionResult]::new('held', 'held', [CompletionResultType]::ParameterValue, 'List the tags that clients get otherwise than their registries have them: held, new or pinned')
            [CompletionResult]::new('release', 'release', [CompletionResultType]::ParameterValue, 'Let clients have what held tags (`hold` in [[cache.tags]]) have moved to, now and not later')
            [CompletionResult]::new('pin', 'pin', [CompletionResultType]::ParameterValue, 'Pin a held tag to a digest: clients get that, whatever the registry says, until `unpin`')
            [CompletionResult]::new('unpin', 'unpin', [CompletionResultType]::ParameterValue, 'Take a pin back')
            [CompletionResult]::new('export', 'export', [CompletionResultType]::ParameterValue, 'Write images of the cache into one file, to carry them to a place without a network. Other tools read it, too')
            [CompletionResult]::new('import', 'import', [CompletionResultType]::ParameterValue, 'Take images from a file into the cache: what `export` wrote, and any other OCI image layout')
            [CompletionResult]::new('verify', 'verify', [CompletionResultType]::ParameterValue, 'Read everything, check it against its digest and delete what does not match. Exit status 1 if anything did not match or could not be read; the unreadable is kept')
            break
        }
        'registry-proxy;cache;stat' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON value per line')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'registry-proxy;cache;list' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON value per line')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'registry-proxy;cache;purge' {
            [CompletionResult]::new('--digest', '--digest', [CompletionResultType]::ParameterName, 'One manifest or layer: `sha256:…`')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'Everything')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Only show what would be deleted')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Only show what would be deleted')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON value per line')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'registry-proxy;cache;held' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON value per line')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'registry-proxy;cache;release' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON value per line')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'registry-proxy;cache;pin' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON value per line')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'registry-proxy;cache;unpin' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON value per line')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'registry-proxy;cache;export' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'The file, an OCI image layout in a tar; `-` for standard output')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'The file, an OCI image layout in a tar; `-` for standard output')
            [CompletionResult]::new('--platform', '--platform', [CompletionResultType]::ParameterName, 'Only these platforms, `linux/amd64,linux/arm64`, and all of them. Default: those that are complete in the cache')
            [CompletionResult]::new('--since', '--since', [CompletionResultType]::ParameterName, 'Leave out what this earlier bundle has. Can be given several times')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON value per line')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'registry-proxy;cache;import' {
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'The name of the image, where the bundle has none with a registry: `docker.io/library/alpine:3.20`')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON value per line')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'registry-proxy;cache;verify' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON value per line')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
