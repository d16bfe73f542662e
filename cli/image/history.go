package image

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/format"
	"github.com/sampan-containers/sampan/cli/terminal"
	"github.com/sampan-containers/sampan/cli/value"
)

type historyOptions struct {
	format, platform      string
	human, noTrunc, quiet bool
}

// NewHistory makes `history`.
func NewHistory(a *app.App) *cobra.Command {
	var o historyOptions
	cmd := named(&cobra.Command{
		Use:               "history [OPTIONS] IMAGE",
		Short:             "Show how an image was made",
		Args:              app.ExactArgs(1),
		ValidArgsFunction: complete.FirstImage(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			return history(cmd.Context(), a, &o, args[0])
		},
	}, "image history, history")
	fs := cmd.Flags()
	fs.StringVar(&o.format, "format", "", app.FormatHelp)
	fs.BoolVarP(&o.human, "human", "H", true, "Show sizes and dates for people")
	fs.BoolVar(&o.noTrunc, "no-trunc", false, "Do not cut long values")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "Show only ids")
	fs.StringVar(&o.platform, "platform", "", "Platform, if the image has several (OS/ARCH[/VARIANT])")
	return cmd
}

func history(ctx context.Context, a *app.App, o *historyOptions, ref string) error {
	platform, err := value.Platform(o.platform)
	if err != nil {
		return err
	}
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	var opts []client.ImageHistoryOption
	if platform != nil {
		opts = append(opts, client.ImageHistoryWithPlatform(*platform))
	}
	got, err := conn.ImageHistory(ctx, ref, opts...)
	if err != nil {
		return err
	}
	if a.Out.IsTerminal() {
		terminal.CleanDeep(&got.Items)
	}
	l := historyFormat
	if !o.human {
		l.Table = strings.Replace(l.Table, ".CreatedSince", ".CreatedAt", 1)
	}
	rows := make([]format.Row, len(got.Items))
	for i := range got.Items {
		rows[i] = &historyRow{&got.Items[i], o}
	}
	return l.Write(a.Out, o.format, o.quiet, rows)
}

var historyFormat = format.List{
	Table: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
	Quiet: "{{.ID}}",
	Headers: map[string]string{
		"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT",
	},
}

const createdByWidth = 45

// historyRow is one step; its methods are the fields of --format.
type historyRow struct {
	step *image.HistoryResponseItem
	o    *historyOptions
}

func (*historyRow) Row() {}

// ID is the image of the step, if there is one.
func (r *historyRow) ID() string { return format.ID(r.step.ID, r.o.noTrunc) }

// CreatedAt is the time of the step.
func (r *historyRow) CreatedAt() string {
	if r.step.Created <= (time.Time{}).Unix() {
		return "N/A"
	}
	return time.Unix(r.step.Created, 0).Format(time.RFC3339)
}

// CreatedSince is the time since the step.
func (r *historyRow) CreatedSince() string {
	if !r.o.human {
		return r.CreatedAt()
	}
	return format.Since(r.step.Created)
}

// CreatedBy is the command of the step, on one line.
func (r *historyRow) CreatedBy() string {
	by := strings.ReplaceAll(r.step.CreatedBy, "\t", " ")
	if !r.o.noTrunc {
		by = format.Ellipsis(by, createdByWidth)
	}
	return by
}

// Size is what the step added.
func (r *historyRow) Size() string {
	if r.o.human {
		return format.Size(r.step.Size)
	}
	return strconv.FormatInt(r.step.Size, 10)
}

// Comment is the step's comment.
func (r *historyRow) Comment() string { return r.step.Comment }

// counted and sized print numbers of which -1 means "not known".
func counted(n int64) string {
	if n < 0 {
		return "N/A"
	}
	return strconv.FormatInt(n, 10)
}

func sized(n int64) string {
	if n < 0 {
		return "N/A"
	}
	return format.Size(n)
}
