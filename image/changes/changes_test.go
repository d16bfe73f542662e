package changes

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
)

func TestApplyChanges(t *testing.T) {
	for name, test := range map[string]struct {
		changes []string
		want    string // the config as JSON
	}{
		"nothing":              {nil, `{}`},
		"exec form":            {[]string{`CMD ["a", "b c"]`}, `{"Cmd":["a","b c"]}`},
		"shell form":           {[]string{`cmd echo "hi" $X`}, `{"Cmd":["/bin/sh","-c","echo \"hi\" $X"]}`},
		"bad JSON is a shell":  {[]string{`CMD ["a", 1]`}, `{"Cmd":["/bin/sh","-c","[\"a\", 1]"]}`},
		"entrypoint drops cmd": {[]string{`ENTRYPOINT ["e"]`}, `{"Entrypoint":["e"]}`},
		"both":                 {[]string{`CMD ["c"]`, `ENTRYPOINT ["e"]`}, `{"Entrypoint":["e"],"Cmd":["c"]}`},
		"env forms":            {[]string{`ENV A=1 B="two words" C=a\ b`, `ENV D the rest of it`}, `{"Env":["A=1","B=two words","C=a b","D=the rest of it"]}`},
		"env refers to env":    {[]string{`ENV A=1`, `ENV B=$A-${A} C=${X:-none} D=${A:+yes} E=\$A F='$A'`}, `{"Env":["A=1","B=1-1","C=none","D=yes","E=$A","F=$A"]}`},
		"env again":            {[]string{`ENV A=1 B=2`, `ENV A=3`}, `{"Env":["A=3","B=2"]}`},
		"expose":               {[]string{`EXPOSE 80 53/udp 8000-8002`}, `{"ExposedPorts":{"53/udp":{},"80/tcp":{},"8000/tcp":{},"8001/tcp":{},"8002/tcp":{}}}`},
		"label":                {[]string{`LABEL a=b "c d"="e f" g=`}, `{"Labels":{"a":"b","c d":"e f","g":""}}`},
		"user":                 {[]string{`USER www-data:www-data`}, `{"User":"www-data:www-data"}`},
		"volume":               {[]string{`VOLUME /a /b`, `VOLUME ["/c d"]`}, `{"Volumes":{"/a":{},"/b":{},"/c d":{}}}`},
		"workdir":              {[]string{`WORKDIR /srv`, `WORKDIR app/../www`}, `{"WorkingDir":"/srv/www"}`},
		"onbuild":              {[]string{`ONBUILD RUN make`}, `{"OnBuild":["RUN make"]}`},
		"onbuild of anything":  {[]string{`ONBUILD /bin/make all`}, `{"OnBuild":["/bin/make all"]}`},
		"stopsignal":           {[]string{`STOPSIGNAL SIGQUIT`, `STOPSIGNAL 9`, `STOPSIGNAL RTMIN+3`}, `{"StopSignal":"RTMIN+3"}`},
		"healthcheck":          {[]string{`HEALTHCHECK --interval=5s --timeout=3s --start-period=1m --start-interval=2s --retries=4 CMD curl -f http://x`}, `{"Healthcheck":{"Test":["CMD-SHELL","curl -f http://x"],"Interval":5000000000,"Timeout":3000000000,"StartPeriod":60000000000,"StartInterval":2000000000,"Retries":4}}`},
		"healthcheck exec":     {[]string{`HEALTHCHECK CMD ["a","b"]`}, `{"Healthcheck":{"Test":["CMD","a","b"]}}`},
		"healthcheck none":     {[]string{`HEALTHCHECK NONE`}, `{"Healthcheck":{"Test":["NONE"]}}`},
		"lines and comments":   {[]string{"# a remark\nENV A=1 \\\n  # inside\n  B=2\n\nUSER x"}, `{"User":"x","Env":["A=1","B=2"]}`},
		"quotes kept apart":    {[]string{`ENV A="say \"hi\"" B='it''s'`}, `{"Env":["A=say \"hi\"","B=its"]}`},
	} {
		t.Run(name, func(t *testing.T) {
			var cfg dockerspec.DockerOCIImageConfig
			if err := Apply(&cfg, test.changes); err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(cfg)
			if err != nil || string(got) != test.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, test.want)
			}
		})
	}
}

func TestBadChanges(t *testing.T) {
	for change, want := range map[string]string{
		"RUN x":                         "run is not a valid change command",
		"from scratch":                  "from is not a valid change command",
		"NONSENSE x":                    "unknown instruction: NONSENSE",
		"CMD":                           "requires at least one argument",
		"ENV x":                         "must have two arguments",
		"ENV a=1 b":                     "cannot find =",
		"ENV a=\"x":                     "not closed",
		"ENV a='x":                      "not closed",
		"ENV a=${":                      "bad substitution",
		"ENV a=${b":                     "modifier",
		"ENV a=${b:?c}":                 "modifier",
		"LABEL =x":                      "blank",
		"EXPOSE http":                   "not a port",
		"EXPOSE 70000":                  "not a range",
		"EXPOSE 9-1":                    "not a range",
		"EXPOSE 1/icmp":                 "not a port",
		"VOLUME [\"\"]":                 "cannot be empty",
		"USER a b":                      "exactly one argument",
		"STOPSIGNAL SIGNOTHING":         "unknown signal",
		"STOPSIGNAL 99":                 "unknown signal",
		"ONBUILD ONBUILD RUN x":         "isn't allowed",
		"ONBUILD FROM x":                "isn't allowed",
		"HEALTHCHECK":                   "requires at least one argument",
		"HEALTHCHECK CMD":               "missing command",
		"HEALTHCHECK NONE x":            "takes no arguments",
		"HEALTHCHECK --interval=1 NONE": "--interval",
		"HEALTHCHECK --colour=red NONE": "unknown flag",
		"HEALTHCHECK EXEC x":            "unknown type",
		"ENV a=" + strings.Repeat("${a:-", 100) + strings.Repeat("}", 100): "nested deeper",
	} {
		var cfg dockerspec.DockerOCIImageConfig
		err := Apply(&cfg, []string{change})
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want …%s…", change, err, want)
		}
	}
}

func FuzzApplyChanges(f *testing.F) {
	for _, seed := range []string{"ENV a=${b:-c}", `CMD ["x"]`, "LABEL a=b \\\n c=d", "EXPOSE 1-3/udp", "HEALTHCHECK --retries=1 CMD x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, change string) {
		var cfg dockerspec.DockerOCIImageConfig
		if err := Apply(&cfg, []string{change}); err != nil && !errors.Is(err, fault.Invalid) {
			t.Errorf("class of %v is %v", err, fault.Of(err))
		}
	})
}
