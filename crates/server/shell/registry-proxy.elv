
use builtin;
use str;

set edit:completion:arg-completer[registry-proxy] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'registry-proxy'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'registry-proxy'= {
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
            cand serve 'Serve (the default)'
            cand check 'Print the effective configuration, secrets masked, and warn of dangerous settings'
            cand explain 'Explain what a pull of an image would do and why, without asking any registry'
            cand warm 'Fetch images into the cache before anybody pulls them'
            cand client 'Point a client at the proxy: print, write or undo its configuration'
            cand doctor 'Look for what keeps pulls from working, and say what to do about it'
            cand health 'Ask the server at the configured address whether it runs: exit status 0 or 1. For HEALTHCHECK'
            cand credential-provider 'Answer kubelet''s request for a login on standard input with the pod''s service account token'
            cand login 'Log in at a proxy by the browser, and keep the login for docker, podman and others'
            cand logout 'Forget a login'
            cand completions 'Print what a shell completes this command line with'
            cand outcomes 'Print the table of outcomes and their reasons, as Markdown'
            cand cache 'Inspect, purge or verify the cache; carry images out of it and into it'
        }
        &'registry-proxy;serve'= {
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'registry-proxy;check'= {
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --json 'Print JSON: what differs from the defaults, what `auto` became, and the warnings'
            cand --all 'With --json: every key, defaults included'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'registry-proxy;explain'= {
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --json 'Print JSON'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'registry-proxy;warm'= {
            cand -f 'A list: an image in each line, a JSON array of images, or what `kubectl get pods -o json` prints'
            cand --file 'A list: an image in each line, a JSON array of images, or what `kubectl get pods -o json` prints'
            cand --compose 'A compose file'
            cand --platform 'Platforms of each image, such as linux/amd64,linux/arm64, or `all`. The default is Linux on this machine''s architecture, as a pull on this machine would get it'
            cand --jobs 'Images that are fetched at once'
            cand --newest 'How many tags a pattern such as `alpine:3.*` means: those with the highest version numbers'
            cand --wait 'How long a manifest or layer waits for a registry that limits the rate of requests: 0s, 10m, 6h'
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --referrers 'Signatures, attestations and SBOMs, too'
            cand --json 'Print one JSON value per line'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'registry-proxy;client'= {
            cand --url 'How the client reaches the proxy; without it `public_url`, or the address to listen on'
            cand --registry 'A registry to pull from through the proxy; may be repeated. Without it every upstream'
            cand --root 'The directory that is the client''s /, as a container sees its host'
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --rootless 'The configuration of the user (HOME), for docker, containerd, podman and buildkit without root'
            cand --print 'Print what would be written (the default)'
            cand --write 'Add it to the client''s files, and keep them as they were beside them'
            cand --undo 'Put back the files as they were'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'registry-proxy;doctor'= {
            cand --image 'Also fetch the manifest and the config of this image, past the cache: login, token server and storage'
            cand --client 'Also pull an image with this client of the machine, and say whether it came through the running server'
            cand --upstream 'Only this upstream; may be repeated'
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --json 'Print JSON: a list of findings with severity, subject, what and next'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'registry-proxy;health'= {
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'registry-proxy;credential-provider'= {
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'registry-proxy;login'= {
            cand --issuer 'The OpenID Connect issuer that the proxy trusts. Needed once; later logins at this proxy know it'
            cand --client-id 'As what registry-proxy is registered there: a public client with the device flow'
            cand --scope 'What the issuer is asked for, separated by spaces. Default: `openid offline_access`, an ID token and its renewal'
            cand --audience 'Whom the token must be for, if that is not the client id'
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --configure-docker 'Also write the line into Docker''s config.json that makes clients ask for this login'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'registry-proxy;logout'= {
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'registry-proxy;completions'= {
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'registry-proxy;outcomes'= {
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'registry-proxy;cache'= {
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --json 'Print one JSON value per line'
            cand -h 'Print help'
            cand --help 'Print help'
            cand stat 'Count blobs, manifests, tags and bytes; show the oldest entry and the downloads in progress'
            cand list 'List images by name, with digest, age and how many of their layers are cached'
            cand purge 'Delete images, so that the next pull fetches them again. Does not prompt'
            cand held 'List the tags that clients get otherwise than their registries have them: held, new or pinned'
            cand release 'Let clients have what held tags (`hold` in [[cache.tags]]) have moved to, now and not later'
            cand pin 'Pin a held tag to a digest: clients get that, whatever the registry says, until `unpin`'
            cand unpin 'Take a pin back'
            cand export 'Write images of the cache into one file, to carry them to a place without a network. Other tools read it, too'
            cand import 'Take images from a file into the cache: what `export` wrote, and any other OCI image layout'
            cand verify 'Read everything, check it against its digest and delete what does not match. Exit status 1 if anything did not match or could not be read; the unreadable is kept'
        }
        &'registry-proxy;cache;stat'= {
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --json 'Print one JSON value per line'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'registry-proxy;cache;list'= {
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --json 'Print one JSON value per line'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'registry-proxy;cache;purge'= {
            cand --digest 'One manifest or layer: `sha256:…`'
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --all 'Everything'
            cand -n 'Only show what would be deleted'
            cand --dry-run 'Only show what would be deleted'
            cand --json 'Print one JSON value per line'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'registry-proxy;cache;held'= {
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --json 'Print one JSON value per line'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'registry-proxy;cache;release'= {
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --json 'Print one JSON value per line'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'registry-proxy;cache;pin'= {
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --json 'Print one JSON value per line'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'registry-proxy;cache;unpin'= {
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --json 'Print one JSON value per line'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'registry-proxy;cache;export'= {
            cand -o 'The file, an OCI image layout in a tar; `-` for standard output'
            cand --output 'The file, an OCI image layout in a tar; `-` for standard output'
            cand --platform 'Only these platforms, `linux/amd64,linux/arm64`, and all of them. Default: those that are complete in the cache'
            cand --since 'Leave out what this earlier bundle has. Can be given several times'
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --json 'Print one JSON value per line'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'registry-proxy;cache;import'= {
            cand --as 'The name of the image, where the bundle has none with a registry: `docker.io/library/alpine:3.20`'
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --json 'Print one JSON value per line'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'registry-proxy;cache;verify'= {
            cand -c 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand --config 'TOML file; every key can also be set as `REGISTRY_PROXY_SECTION__KEY`'
            cand -l 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --listen 'Address and port to listen on; overrides PORT and the file. Port 0 takes any free port'
            cand --json 'Print one JSON value per line'
            cand -h 'Print help'
            cand --help 'Print help'
        }
    ]
    $completions[$command]
}
