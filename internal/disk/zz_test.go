package disk
import ("testing";"os";"context";"time";"github.com/mkosi-go/mkosi/resources")
func TestZZ(t *testing.T){
 fs,_:=resources.Repart(os.Getenv("ZDEF")); d,err:=ParseDefinitions(fs,"x86-64"); if err!=nil{t.Fatal(err)}
 if os.Getenv("ZDEF")=="sysext" { d=d[:2]; d[0].CopyFiles=[]CopyFiles{{"/","/"}} }
 t0:=time.Now()
 r,err:=Build(context.Background(),Options{Path:os.Getenv("ZOUT"),Root:os.Getenv("ZROOT"),Definitions:d})
 if err!=nil{t.Fatal(err)}
 t.Log(time.Since(t0), r.Size)
}
